//! Another bundled image, another program of the workers: living ones are replaced for it.

use std::collections::BTreeSet;
use std::time::Duration;

use clb_protocol::PoolName;

use crate::build::{Build, Builds};
use crate::clock::Moment;
use crate::output::{Note, Output};

use super::Cluster;

/// How long an orchestrator that does not run may hold an upgrade up. It is longer than one that was stopped or
/// removed on purpose is left alone.
const STOPPED_LIMIT: Duration = Duration::from_mins(1);

/// Whether the orchestrators are of different images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mixture {
    /// They are of one.
    #[default]
    None,
    /// Some that run are of another than others.
    Running,
    /// All that run are of one, and some that do not run are of another.
    Stopped {
        /// Since when.
        since: Moment,
    },
    /// The same, for so long that they are waited for no more.
    LeftOver,
}

impl Mixture {
    fn after(self, running: &BTreeSet<Build>, stopped: &BTreeSet<Build>, now: Moment) -> Self {
        if running.len() > 1 {
            return Self::Running;
        }
        if running.is_empty() || stopped.is_subset(running) {
            return Self::None;
        }
        match self {
            Self::Stopped { since } if now.since(since) >= STOPPED_LIMIT => Self::LeftOver,
            Self::Stopped { .. } | Self::LeftOver => self,
            Self::None | Self::Running => Self::Stopped { since: now },
        }
    }

    fn holds_up(self) -> bool {
        matches!(self, Self::Running | Self::Stopped { .. })
    }
}

impl Cluster {
    /// Takes in what containers are made of now, and of which images the orchestrators are.
    ///
    /// While these differ, an upgrade is under way or half done, and who leads may change back and forth:
    /// nobody is replaced for it until they are of one kind.
    pub(super) fn take_builds(
        &mut self,
        builds: Builds,
        running: &BTreeSet<Build>,
        stopped: &BTreeSet<Build>,
        now: Moment,
        out: &mut Output,
    ) {
        let mixture = self.mixture.after(running, stopped, now);
        let before = std::mem::replace(&mut self.mixture, mixture);
        if mixture.holds_up() && !before.holds_up() {
            let text = "The orchestrators are of different images: no worker is replaced for a newer program or \
                        bundled image until they are of the same";
            out.notes.push(Note::Fleet(text.to_owned()));
        }
        if mixture == Mixture::LeftOver && before != mixture {
            let text = "An orchestrator that does not run is of another image than the others, and is waited for \
                        no longer: remove its container";
            out.notes.push(Note::Fleet(text.to_owned()));
        }
        let builds = if mixture.holds_up() { Builds::default() } else { builds };
        if builds == self.builds {
            return;
        }
        self.builds = builds;
        self.unsettled.extend(self.pools.keys().cloned());
        let outdated: BTreeSet<&PoolName> =
            self.fleet.slots().filter(|slot| self.is_outdated(slot)).map(|slot| &slot.pool).collect();
        for pool in outdated {
            out.notes.push(Note::Fleet(format!(
                "The workers of pool {pool} are not made of what they would be made of now: they are replaced one \
                 after the other"
            )));
        }
    }
}
