//! How a worker stands, for people.

use clb_protocol::link::{Running, Welcome};

use super::contact::Phase;
use super::{Agent, Now};

/// What the worker's page shows.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// What the process is up to, in a word.
    pub(crate) state: &'static str,
    /// Whether it simulates a crash.
    pub(crate) is_crashed: bool,
    /// Whom it obeys.
    pub(crate) leader: Option<Welcome>,
    /// What it runs.
    pub(crate) running: Vec<Running>,
    /// How many results wait for their acknowledgement.
    pub(crate) unacknowledged: usize,
    /// How many attempts ended since the process began.
    pub(crate) ended: u64,
}

impl Agent {
    /// What the worker's page shows.
    pub(crate) fn view(&self, now: Now) -> View {
        let linked = self.linked();
        let state = match (&self.phase, linked) {
            (Phase::Crashed, _) => "simulates a crash",
            (Phase::Leaving(_), _) => "leaving",
            (Phase::Working, None) => "looks for a leader",
            (Phase::Working, Some(_)) => "ready",
        };
        View {
            state,
            is_crashed: matches!(self.phase, Phase::Crashed),
            leader: linked.map(|linked| linked.welcome.clone()),
            running: self.running.list(now),
            unacknowledged: self.outbox.len(),
            ended: self.ended,
        }
    }
}
