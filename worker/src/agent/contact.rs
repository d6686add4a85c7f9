//! How the worker stands with its leader, and what follows from it for the link.

use std::time::{Duration, Instant};

use clb_protocol::link::{HEARTBEAT_MS, Running, SILENCE_LIMIT_MS, Welcome};

/// After how long without a word another leader is looked for beside the silent one: later than a
/// ping that is a little late, sooner than the end of a dead leader's lease and the way to the next.
const QUIET_LIMIT: Duration = Duration::from_millis(HEARTBEAT_MS + HEARTBEAT_MS / 2);
const SILENCE_LIMIT: Duration = Duration::from_millis(SILENCE_LIMIT_MS);
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// How long a leaving worker waits for the acknowledgement of its last results.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// How long a leaving worker that has nothing left to say waits for the leader to end the link.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_millis(250);

/// What the process is up to.
#[derive(Debug)]
pub(super) enum Phase {
    /// It runs tasks.
    Working,
    /// It was told to stop.
    Leaving(Farewell),
    /// It simulates a crash.
    Crashed,
}

/// The last words of a worker that was told to stop.
#[derive(Debug)]
pub(super) struct Farewell {
    /// What it gives back, unfinished.
    pub(super) returned: Vec<Running>,
    /// How many of those were said on the present link; `None` before the first word.
    pub(super) said: Option<usize>,
    /// When it ends whatever is still open.
    pub(super) until: Instant,
    /// When it ends though the leader keeps the link; set once everything is said and acknowledged.
    pub(super) closing: Option<Instant>,
}

impl Farewell {
    pub(super) fn is_unsaid(&self) -> bool {
        self.said != Some(self.returned.len())
    }
}

/// The link to the leader, as far as it matters for decisions.
#[derive(Debug)]
pub(super) enum Contact {
    /// There is none.
    Lost {
        /// Since when.
        since: Instant,
    },
    /// There is one.
    Linked(Linked),
}

/// A link on which the leader has said its welcome.
#[derive(Debug)]
pub(super) struct Linked {
    /// What it said.
    pub(super) welcome: Welcome,
    /// When it said something last.
    pub(super) heard_at: Instant,
    /// When the worker said something last.
    pub(super) said_at: Instant,
}

impl Linked {
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        now >= self.heard_at + QUIET_LIMIT
    }

    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now >= self.heard_at + SILENCE_LIMIT
    }

    pub(super) fn is_heartbeat_due(&self, now: Instant) -> bool {
        now >= self.said_at + HEARTBEAT
    }

    /// The times at which one of the above changes.
    pub(super) fn deadlines(&self) -> [Instant; 3] {
        [self.heard_at + QUIET_LIMIT, self.heard_at + SILENCE_LIMIT, self.said_at + HEARTBEAT]
    }
}

/// What is to be done about the link; true until the next input, not once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Have no link and look for none.
    Off,
    /// Keep the link.
    Keep,
    /// Keep the link and look for a leader elsewhere.
    LookElsewhere,
    /// Have no link any more, look for a leader.
    Look,
    /// Say no more and wait until the leader ends the link.
    Finish,
    /// End the process.
    End(Ending),
}

/// Why the process ends by its own decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to.
    Left,
    /// It had no leader for too long.
    Orphaned,
}
