//! What pages and callers may see of the state.

use clb_protocol::api::{PoolTasks, PoolView, PoolWorkers, TaskCounts, WorkerState, WorkerView};
use clb_protocol::{Epoch, PoolName, SlotNo, TaskId};

use crate::fleet::{Held, Link, Slot, Stage};
use crate::pool::Pool;
use crate::task::RunningAttempt;

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
        self.tasks.contains(id)
    }

    /// The attempt of a task that a worker has now.
    #[must_use]
    pub fn running_attempt(&self, id: TaskId) -> Option<&RunningAttempt> {
        self.tasks.running(id)
    }

    /// How many tasks stand where.
    #[must_use]
    pub fn counts(&self) -> TaskCounts {
        self.tasks.counts()
    }

    /// Every slot with its worker, by pool and place.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.fleet.slots().map(view)
    }

    /// The worker of a slot.
    #[must_use]
    pub fn worker(&self, pool: &PoolName, slot: SlotNo) -> Option<WorkerView> {
        self.fleet.slot(&(pool.clone(), slot)).map(view)
    }

    /// Every pool, by name.
    pub fn pools(&self) -> impl Iterator<Item = PoolView> + '_ {
        self.pools.all().map(|pool| self.pool_view(pool))
    }

    /// A pool.
    #[must_use]
    pub fn pool(&self, name: &PoolName) -> Option<PoolView> {
        self.pools.get(name).map(|pool| self.pool_view(pool))
    }

    fn pool_view(&self, pool: &Pool) -> PoolView {
        let slots = || self.fleet.slots().filter(|slot| slot.pool == pool.name);
        let is_current = |(id, held): &(&TaskId, &Held)| self.tasks.is_current(**id, held.attempt);
        let running =
            slots().filter_map(Slot::worker).flat_map(|w| &w.running).filter(is_current).count() as u64;
        let open = self.tasks.open_in(&pool.name);
        let ready = slots().filter(|slot| slot.is_serving()).count();
        PoolView {
            name: pool.name.clone(),
            source: pool.source,
            spec: (*pool.spec).clone(),
            state: pool.state,
            reason: pool.reason.clone(),
            is_paused: pool.is_paused,
            workers: PoolWorkers { ready: u16::try_from(ready).unwrap_or(u16::MAX), wanted: pool.wanted() },
            tasks: PoolTasks { queued: open.saturating_sub(running), running },
            since: pool.since,
        }
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
        address: Some(format!("{}:{}", slot.worker_id().name(), slot.port)),
        port: slot.published,
        slots: worker.map_or(0, |worker| worker.slots),
        running: worker.map(|worker| worker.running.keys().copied().collect()).unwrap_or_default(),
        cpu_percent: usage.map(|usage| usage.cpu_percent),
        memory_bytes: usage.map(|usage| usage.memory_bytes),
        memory_limit_bytes: usage.map(|usage| usage.memory_limit_bytes),
        tasks_done: worker.map_or(0, |worker| worker.tasks_done),
        since: slot.since.at,
    }
}

pub(super) fn state(slot: &Slot) -> WorkerState {
    match &slot.stage {
        Stage::Vacant { not_before } if *not_before > slot.since => WorkerState::BackingOff,
        Stage::Vacant { .. } | Stage::Starting { .. } => WorkerState::Starting,
        Stage::Burying { .. } => WorkerState::Lost,
        Stage::Up(worker) => match worker.link {
            Link::Open { .. } if worker.leaving_since.is_some() || !slot.takes_tasks() => {
                WorkerState::Draining
            }
            Link::Open { .. } => WorkerState::Ready,
            Link::Stopped { .. } => WorkerState::Stopped,
            Link::Awaited { .. } => WorkerState::Starting,
            Link::Closed { .. } => WorkerState::Lost,
        },
    }
}
