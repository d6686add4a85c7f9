//! Another bundled image, another program of the workers: living ones are replaced for it.

use std::collections::BTreeSet;

use clb_protocol::PoolName;

use crate::build::{Build, Builds, Mixture};
use crate::clock::Moment;
use crate::output::{Note, Output};

use super::Cluster;

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
        let (before, mixture) = self.pools.take_mixture(running, stopped, now);
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
        if !self.pools.take_builds(builds) {
            return;
        }
        let outdated: BTreeSet<&PoolName> =
            self.fleet.slots().filter(|slot| self.pools.is_outdated(slot)).map(|slot| &slot.pool).collect();
        for pool in outdated {
            out.notes.push(Note::Fleet(format!(
                "The workers of pool {pool} are not made of what they would be made of now: they are replaced one \
                 after the other"
            )));
        }
    }
}
