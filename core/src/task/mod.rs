//! One task between its acceptance and its end ([`Task`]), and all of them ([`Tasks`]).
//!
//! ```text
//! Accepted --stored--> Queued --ordered--> Running --result--> (ended, no longer in memory)
//!    |                  ^ ^  ^               |  |
//!    +-> Deferred --due-+ |  +--lost, failed-+  +--lost the last attempt--> Undecided
//!                         +--rested-- Resting <- again                          |
//!                         +------------- the loss cost nothing -----------------+
//! ```
//!
//! An ended task is not kept: its outcome is an intention of the same step. Neither are specs and
//! results, so that a million waiting tasks fit in memory.

mod asleep;
mod rest;
mod tasks;

use std::time::Duration;

use clb_protocol::api::VerdictKind;
use clb_protocol::link::Cause;
use clb_protocol::task::{Retry, RetryOn};
use clb_protocol::{AttemptNo, Epoch, PoolName, SubmissionSeq, TaskId, Timestamp, WorkerId};

use crate::clock::Moment;
use crate::queue::Turn;

pub(crate) use self::tasks::{Ended, Placing, Tasks};

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Taken, but not on disk yet: nobody may run it.
    Accepted {
        /// Its caller wants it to wait until then.
        not_before: Option<Timestamp>,
    },
    /// On disk; its caller wants it to wait.
    Deferred {
        /// Until the clock on the wall says so.
        until: Timestamp,
    },
    /// On disk, waiting for a slot.
    Queued,
    /// On disk; an attempt of it was lost or failed and it waits before the next.
    Resting {
        /// Until when.
        until: Box<Moment>,
    },
    /// With a worker. In a box, as all that only few tasks have at a time.
    Running(Box<RunningAttempt>),
    /// Its last attempt was lost; whether that counts is being found out.
    Undecided(Box<RunningAttempt>),
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

/// Whether another attempt may come to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It may.
    MayHelp,
    /// It would fail likewise, wherever it runs.
    IsUseless,
}

impl Repeat {
    /// After an attempt that failed of this. A program that is not there is not there on any worker of the pool; who
    /// changes the pool's image for it submits the task again.
    #[must_use]
    pub fn after(cause: Cause) -> Self {
        match cause {
            Cause::CannotStart => Self::IsUseless,
            Cause::Error | Cause::Exited(_) | Cause::Killed(_) | Cause::Oom => Self::MayHelp,
        }
    }
}

/// What the reducer has to remember of a task that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its place in the order of submissions.
    pub seq: SubmissionSeq,
    /// Whose workers run it.
    pub pool: PoolName,
    /// When it goes, among the tasks that wait.
    pub turn: Turn,
    /// How many attempts may be lost or fail.
    pub max_attempts: u32,
    /// How many were, those that cost none left out.
    pub spent: u32,
    /// The newest attempt's number; 0 before the first.
    pub last_attempt: AttemptNo,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// What is repeated after which rest, where it asks for something of its own: most do not, and a million
    /// of them may wait.
    pub retry: Option<Box<Retry>>,
    /// Where it stands. Only [`Tasks`] writes it.
    phase: Phase,
}

impl Task {
    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The attempt that is its current one.
    #[must_use]
    pub fn running(&self) -> Option<&RunningAttempt> {
        match &self.phase {
            Phase::Running(attempt) => Some(attempt),
            Phase::Accepted { .. }
            | Phase::Deferred { .. }
            | Phase::Queued
            | Phase::Resting { .. }
            | Phase::Undecided(_) => None,
        }
    }

    /// Whether it is known to be on disk.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        !matches!(self.phase, Phase::Accepted { .. })
    }

    /// How long it waits before it runs again, now that so many attempts are spent.
    #[must_use]
    pub fn rest(&self, id: TaskId) -> Option<Duration> {
        let retry = self.retry.as_deref().copied().unwrap_or_default();
        rest::rest(&retry, id, self.spent)
    }

    /// Whether an attempt of which this is said was its last one.
    #[must_use]
    pub fn ends_with(&self, verdict: VerdictKind, repeat: Repeat) -> bool {
        let is_failure = matches!(verdict, VerdictKind::Failed | VerdictKind::TimedOut | VerdictKind::Oom);
        let on = self.retry.as_deref().map(|retry| retry.on).unwrap_or_default();
        self.is_exhausted() || repeat == Repeat::IsUseless || (is_failure && on == RetryOn::Loss)
    }

    /// Whether no further attempt may be lost or fail.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.spent >= self.max_attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_waiting_tasks_take_little_memory() {
        assert!(size_of::<Task>() <= 80, "{} bytes for each", size_of::<Task>());
    }
}
