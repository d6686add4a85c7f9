//! One task between its acceptance and its end.
//!
//! ```text
//! Accepted --stored--> Queued --ordered--> Running --result--> (ended, no longer in memory)
//!                       ^  ^                 |  |
//!                       |  +---lost, failed--+  +--lost the last attempt--> Undecided
//!                       +--rested-- Resting <-- again                           |
//!                       +------------- the loss cost nothing -------------------+
//! ```
//!
//! An ended task is not kept: its outcome is an intention of the same step. Neither are specs and
//! results, so that a million waiting tasks fit in memory.

use std::time::Duration;

use clb_protocol::{AttemptNo, Epoch, PoolName, SubmissionSeq, Timestamp, WorkerId};

const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Taken, but not on disk yet: nobody may run it.
    Accepted,
    /// On disk, waiting for a slot.
    Queued,
    /// On disk; it was lost or failed more than once and waits for this time.
    Resting {
        /// Until when.
        until: Timestamp,
    },
    /// With a worker.
    Running(RunningAttempt),
    /// Its last attempt was lost; whether that counts is being found out.
    Undecided(RunningAttempt),
}

/// An attempt that a worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAttempt {
    /// Which one.
    pub attempt: AttemptNo,
    /// Who has it.
    pub worker: WorkerId,
    /// The term that ordered it.
    pub epoch: Epoch,
    /// When it was ordered.
    pub started_at: Timestamp,
}

/// What the reducer has to remember of a task that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its place in the order of submissions.
    pub seq: SubmissionSeq,
    /// Whose workers run it.
    pub pool: PoolName,
    /// Higher goes first.
    pub priority: i8,
    /// How many attempts may be lost or fail.
    pub max_attempts: u32,
    /// How many were, those that cost none left out.
    pub spent: u32,
    /// The newest attempt's number; 0 before the first.
    pub last_attempt: AttemptNo,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Where it stands.
    pub phase: Phase,
}

impl Task {
    /// The attempt that is its current one.
    #[must_use]
    pub fn running(&self) -> Option<&RunningAttempt> {
        match &self.phase {
            Phase::Running(attempt) => Some(attempt),
            Phase::Accepted | Phase::Queued | Phase::Resting { .. } | Phase::Undecided(_) => None,
        }
    }

    /// How long it waits before it runs again. The first loss is healed at once; after that the workers may
    /// all be dying at this moment, or of this very task.
    #[must_use]
    pub fn rest(&self) -> Option<Duration> {
        let doublings = self.spent.checked_sub(2)?;
        Some(FIRST_REST.saturating_mul(1 << doublings.min(10)).min(LONGEST_REST))
    }

    /// Whether no further attempt may be lost or fail.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.spent >= self.max_attempts
    }
}
