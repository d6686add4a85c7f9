//! Tasks that wait for their time: put off by their callers, or at rest between two attempts. What wakes them is
//! the leader's next deadline.

use std::collections::BTreeSet;

use clb_protocol::{TaskId, Timestamp};

use crate::clock::Moment;

use super::Phase;

/// Tasks that go on by themselves, by when they are due.
#[derive(Debug, Default)]
pub(super) struct Asleep {
    /// Between two attempts.
    resting: BTreeSet<(Moment, TaskId)>,
    /// As their callers want it, by the clock on the wall.
    deferred: BTreeSet<(Timestamp, TaskId)>,
}

impl Asleep {
    /// Takes in a task that stands like this, if it is asleep.
    pub(super) fn add(&mut self, id: TaskId, phase: &Phase) {
        match phase {
            Phase::Resting { until } => drop(self.resting.insert((**until, id))),
            Phase::Deferred { until } => drop(self.deferred.insert((*until, id))),
            Phase::Accepted { .. } | Phase::Queued | Phase::Running(_) | Phase::Undecided(_) => {}
        }
    }

    /// Takes out a task that stands like this, if it is asleep.
    pub(super) fn remove(&mut self, id: TaskId, phase: &Phase) {
        match phase {
            Phase::Resting { until } => drop(self.resting.remove(&(**until, id))),
            Phase::Deferred { until } => drop(self.deferred.remove(&(*until, id))),
            Phase::Accepted { .. } | Phase::Queued | Phase::Running(_) | Phase::Undecided(_) => {}
        }
    }

    /// One that is due.
    pub(super) fn due(&self, now: Moment) -> Option<TaskId> {
        let rested = self.resting.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id);
        let its_time = || self.deferred.first().filter(|(until, _)| *until <= now.at).map(|(_, id)| *id);
        rested.or_else(its_time)
    }

    /// When the next one is due.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let rested = self.resting.first().map(|(until, _)| *until);
        let its_time = self.deferred.first().map(|(until, _)| now.when(*until));
        rested.into_iter().chain(its_time).min()
    }

    pub(super) fn contains(&self, id: TaskId, phase: &Phase) -> bool {
        match phase {
            Phase::Resting { until } => self.resting.contains(&(**until, id)),
            Phase::Deferred { until } => self.deferred.contains(&(*until, id)),
            Phase::Accepted { .. } | Phase::Queued | Phase::Running(_) | Phase::Undecided(_) => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.resting.len() + self.deferred.len()
    }
}
