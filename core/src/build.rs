//! What containers are made of beyond their pools' specs: the bundled image, the worker's program; and whether the
//! orchestrators agree on that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clb_protocol::pool::PoolSpec;

use crate::clock::Moment;

/// How long an orchestrator that does not run may hold an upgrade up. It is longer than one that was stopped or
/// removed on purpose is left alone.
const STOPPED_LIMIT: Duration = Duration::from_mins(1);

/// What identifies an image or a program: the id of the image, the volume with the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build(pub Arc<str>);

/// What containers are made of now; `None` while nobody could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builds {
    /// The bundled image.
    pub bundled: Option<Build>,
    /// The worker's program, for images that do not have it.
    pub program: Option<Build>,
}

impl Builds {
    /// What makes the containers of a pool others than before, though its spec is the same.
    #[must_use]
    pub fn of(&self, spec: &PoolSpec) -> Option<&Build> {
        if spec.image.is_some() { self.program.as_ref() } else { self.bundled.as_ref() }
    }
}

/// Whether the orchestrators are of different images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mixture {
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
    /// What follows when the orchestrators that run, and the others, are of these images.
    pub(crate) fn after(self, running: &BTreeSet<Build>, stopped: &BTreeSet<Build>, now: Moment) -> Self {
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

    /// Whether nobody is replaced for an upgrade now.
    pub(crate) fn holds_up(self) -> bool {
        matches!(self, Self::Running | Self::Stopped { .. })
    }
}
