//! What runs now, and when each of it is over.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use clb_protocol::Epoch;
use clb_protocol::link::{Running, Yield};

use super::Now;
use crate::run::{AttemptKey, StopOnDrop};

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The term that ordered it.
    pub(super) epoch: Epoch,
    /// When the order came.
    pub(super) started: Now,
    /// When it is over, or is to be stopped; `None` once it is being stopped.
    pub(super) deadline: Option<Instant>,
    /// What does the work.
    pub(super) doer: Doer,
}

impl Attempt {
    /// As the leader hears of it.
    pub(super) fn told(&self, (task, attempt): AttemptKey, now: Now) -> Running {
        Running {
            task,
            attempt,
            epoch: self.epoch,
            started_at: self.started.at,
            ran_for: now.instant.saturating_duration_since(self.started.instant),
        }
    }
}

/// What does the work of an attempt.
#[derive(Debug)]
pub(super) enum Doer {
    /// Nothing but the clock: at the deadline the attempt gives this.
    Clock(Yield),
    /// A thread, which ends together with this entry.
    Thread { _stop: StopOnDrop },
    /// A program, and why it is being stopped.
    Program(Option<Reason>),
}

/// Why a program is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It outran its timeout.
    TimedOut,
    /// The leader said so.
    Cancelled,
    /// The worker ends.
    Leaving,
}

/// All attempts under way.
#[derive(Debug, Default)]
pub(super) struct RunningTable {
    attempts: HashMap<AttemptKey, Attempt>,
    deadlines: BTreeSet<(Instant, AttemptKey)>,
}

impl RunningTable {
    pub(super) fn insert(&mut self, key: AttemptKey, attempt: Attempt) {
        self.deadlines.extend(attempt.deadline.map(|deadline| (deadline, key)));
        self.attempts.insert(key, attempt);
    }

    pub(super) fn remove(&mut self, key: AttemptKey) -> Option<Attempt> {
        let attempt = self.attempts.remove(&key)?;
        if let Some(deadline) = attempt.deadline {
            self.deadlines.remove(&(deadline, key));
        }
        Some(attempt)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Takes out everything, oldest task first.
    pub(super) fn take_all(&mut self) -> Vec<(AttemptKey, Attempt)> {
        self.deadlines.clear();
        let mut all: Vec<(AttemptKey, Attempt)> = self.attempts.drain().collect();
        all.sort_by_key(|(key, _)| *key);
        all
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

    /// Whether it runs and is a program, which alone writes anything.
    pub(super) fn is_program(&self, key: AttemptKey) -> bool {
        self.attempts.get(&key).is_some_and(|attempt| matches!(attempt.doer, Doer::Program(_)))
    }

    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Everything in it as the leader hears of it, oldest task first.
    pub(super) fn list(&self, now: Now) -> Vec<Running> {
        let mut all: Vec<Running> = self.attempts.iter().map(|(&key, it)| it.told(key, now)).collect();
        all.sort_by_key(|running| (running.task, running.attempt));
        all
    }
}
