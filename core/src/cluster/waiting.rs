//! How tasks come to wait: for a slot, for their time, for their next attempt.

use std::collections::BTreeSet;

use clb_protocol::{TaskId, Timestamp};

use crate::clock::Moment;
use crate::task::Phase;

use super::Cluster;

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
    fn due(&self, now: Moment) -> Option<TaskId> {
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

impl Cluster {
    pub(super) fn enqueue(&mut self, ids: &[TaskId], now: Moment) {
        for id in ids {
            let Some(task) = self.tasks.get_mut(id) else { continue };
            let Phase::Accepted { not_before } = task.phase else { continue };
            if let Some(until) = not_before.filter(|until| *until > now.at) {
                task.phase = Phase::Deferred { until };
                self.asleep.add(*id, &task.phase);
            } else {
                task.phase = Phase::Queued;
                self.queue.push(*id, task);
            }
        }
    }

    /// A task whose attempt counted goes back into the queue, at once or after a rest.
    pub(super) fn come_back(&mut self, id: TaskId, now: Moment) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(rest) = task.rest(id) else { return self.put_back(id) };
        if let Some(running) = task.running() {
            self.placements.let_go(id, running.attempt);
            self.running -= 1;
        }
        task.phase = Phase::Resting { until: Box::new(now + rest) };
        self.asleep.add(id, &task.phase);
    }

    /// Tasks that have waited for their time go into the queue.
    pub(super) fn wake(&mut self, now: Moment) {
        while let Some(id) = self.asleep.due(now) {
            self.put_back(id);
        }
    }

    pub(super) fn put_back(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Some(running) = task.running() {
            self.placements.let_go(id, running.attempt);
            self.running -= 1;
        }
        self.asleep.remove(id, &task.phase);
        task.phase = Phase::Queued;
        self.queue.push(id, task);
    }
}
