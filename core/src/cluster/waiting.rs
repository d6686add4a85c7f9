//! How tasks come to wait: for a slot, for their time, for their next attempt.

use clb_protocol::{TaskId, Timestamp};

use crate::task::Phase;

use super::Cluster;

impl Cluster {
    pub(super) fn enqueue(&mut self, ids: &[TaskId], now: Timestamp) {
        for id in ids {
            let Some(task) = self.tasks.get_mut(id) else { continue };
            let Phase::Accepted { not_before } = task.phase else { continue };
            if let Some(until) = not_before.filter(|until| *until > now) {
                task.phase = Phase::Deferred { until };
                self.asleep.insert((until, *id));
            } else {
                task.phase = Phase::Queued;
                self.queue.push(*id, task);
            }
        }
    }

    /// A task whose attempt counted goes back into the queue, at once or after a rest.
    pub(super) fn come_back(&mut self, id: TaskId, now: Timestamp) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(rest) = task.rest(id) else { return self.put_back(id) };
        if let Some(running) = task.running() {
            self.placements.let_go(id, running.attempt);
            self.running -= 1;
        }
        let until = now + rest;
        task.phase = Phase::Resting { until };
        self.asleep.insert((until, id));
    }

    /// Tasks that have waited for their time go into the queue.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.asleep.first().copied().filter(|(until, _)| *until <= now) {
            self.put_back(id);
        }
    }

    pub(super) fn put_back(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Some(running) = task.running() {
            self.placements.let_go(id, running.attempt);
            self.running -= 1;
        }
        if let Some(until) = task.due() {
            self.asleep.remove(&(until, id));
        }
        task.phase = Phase::Queued;
        self.queue.push(id, task);
    }
}
