//! What pages and callers may see of the state.

use clb_protocol::api::{TaskCounts, WorkerState, WorkerView};
use clb_protocol::{Epoch, TaskId};

use crate::fleet::{Link, Slot, Stage};
use crate::task::{RunningAttempt, Task};

use super::Cluster;

impl Cluster {
    /// The term.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a task is accepted, waiting or running.
    #[must_use]
    pub fn is_open(&self, id: TaskId) -> bool {
        self.tasks.contains(&id)
    }

    /// The attempt of a task that a worker has now.
    #[must_use]
    pub fn running_attempt(&self, id: TaskId) -> Option<&RunningAttempt> {
        self.tasks.get(&id).and_then(Task::running)
    }

    /// How many tasks stand where.
    #[must_use]
    pub fn counts(&self) -> TaskCounts {
        let [succeeded, failed, cancelled] = self.ended;
        let open = self.tasks.len() as u64;
        TaskCounts { queued: open - self.running, running: self.running, succeeded, failed, cancelled }
    }

    /// Every slot with its worker, by pool and place.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.slots.values().map(view)
    }
}

fn view(slot: &Slot) -> WorkerView {
    let worker = slot.worker();
    let usage = worker.and_then(|worker| worker.usage.back());
    WorkerView {
        name: slot.worker_id().name(),
        pool: slot.pool.clone(),
        slot: slot.no,
        generation: slot.generation,
        state: state(slot),
        reason: slot.reason.clone(),
        container: slot.container().cloned(),
        address: None,
        port: slot.port,
        slots: worker.map_or(0, |worker| worker.slots),
        running: worker.map(|worker| worker.running.keys().copied().collect()).unwrap_or_default(),
        cpu_percent: usage.map(|usage| usage.cpu_percent),
        memory_bytes: usage.map(|usage| usage.memory_bytes),
        memory_limit_bytes: usage.map(|usage| usage.memory_limit_bytes),
        tasks_done: worker.map_or(0, |worker| worker.tasks_done),
        since: slot.since,
    }
}

pub(super) fn state(slot: &Slot) -> WorkerState {
    match &slot.stage {
        Stage::Vacant { not_before } if *not_before > slot.since => WorkerState::BackingOff,
        Stage::Vacant { .. } | Stage::Starting { .. } => WorkerState::Starting,
        Stage::Burying { .. } => WorkerState::Lost,
        Stage::Up(worker) => match worker.link {
            Link::Open { .. } if worker.leaving_since.is_some() => WorkerState::Draining,
            Link::Open { .. } => WorkerState::Ready,
            Link::Stopped { .. } => WorkerState::Stopped,
            Link::Awaited { .. } => WorkerState::Starting,
            Link::Closed { .. } => WorkerState::Lost,
        },
    }
}
