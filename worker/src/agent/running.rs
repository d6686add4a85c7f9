//! What runs now, and when each of it is over.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use clb_protocol::link::{Running, Yield};
use clb_protocol::{Epoch, Timestamp};

use crate::run::{AttemptKey, StopOnDrop};

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The term that ordered it.
    pub(super) epoch: Epoch,
    /// When the order came.
    pub(super) started_at: Timestamp,
    /// When it is over at the latest.
    pub(super) deadline: Instant,
    /// What it gives then.
    pub(super) at_deadline: Yield,
    /// Its thread, where it has one: ended together with this entry.
    pub(super) thread: Option<StopOnDrop>,
}

/// All attempts under way.
#[derive(Debug, Default)]
pub(super) struct RunningTable {
    attempts: HashMap<AttemptKey, Attempt>,
    deadlines: BTreeSet<(Instant, AttemptKey)>,
}

impl RunningTable {
    pub(super) fn insert(&mut self, key: AttemptKey, attempt: Attempt) {
        self.deadlines.insert((attempt.deadline, key));
        self.attempts.insert(key, attempt);
    }

    pub(super) fn remove(&mut self, key: AttemptKey) -> Option<Attempt> {
        let attempt = self.attempts.remove(&key)?;
        self.deadlines.remove(&(attempt.deadline, key));
        Some(attempt)
    }

    /// Takes out one whose time is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(AttemptKey, Attempt)> {
        let (deadline, key) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(key).map(|attempt| (key, attempt))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn contains(&self, key: AttemptKey) -> bool {
        self.attempts.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Everything in it as the leader hears of it, oldest task first.
    pub(super) fn list(&self) -> Vec<Running> {
        let mut all: Vec<Running> = self
            .attempts
            .iter()
            .map(|(&(task, attempt), it)| Running {
                task,
                attempt,
                epoch: it.epoch,
                started_at: it.started_at,
            })
            .collect();
        all.sort_by_key(|running| (running.task, running.attempt));
        all
    }

    /// Ends everything.
    pub(super) fn clear(&mut self) {
        self.attempts.clear();
        self.deadlines.clear();
    }
}
