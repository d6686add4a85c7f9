//! What the fleet learns from workers: that they are there, what they have, that they go.

use std::time::Duration;

use clb_protocol::link::{Running, WorkerHello};
use clb_protocol::pool::MAX_STOP_GRACE_SECONDS;
use clb_protocol::{AttemptNo, ContainerId, TaskId, WorkerId};

use crate::clock::Moment;
use crate::input::LinkNo;

use super::{Fleet, Held, Link, Slot, SlotKey, Stage, Worker, key_of};

/// Where a task went.
pub(crate) struct Given {
    pub(crate) worker: WorkerId,
    pub(crate) link: LinkNo,
    pub(crate) port: u16,
}

/// A worker whose link closed.
pub(crate) struct Disconnected {
    pub(crate) worker: WorkerId,
    pub(crate) container: ContainerId,
    pub(crate) port: u16,
    pub(crate) is_leaving: bool,
}

impl Fleet {
    /// Whether a worker's slot is there and is not meant for another container.
    pub(crate) fn may_join(&self, worker: &WorkerId) -> bool {
        let Some(slot) = self.slots.get(&key_of(worker)) else { return false };
        match slot.stage {
            Stage::Up(_) | Stage::Starting { .. } => worker.generation == slot.generation,
            // Before Docker was asked, an empty slot only means that its container is not known yet.
            Stage::Vacant { .. } => !self.is_observed && worker.generation >= slot.generation,
            Stage::Burying { .. } => false,
        }
    }

    /// A worker has a link and fills its slot from now on; returns the link that this one replaces.
    pub(crate) fn connect(&mut self, link: LinkNo, hello: &WorkerHello, now: Moment) -> Option<LinkNo> {
        let key = key_of(&hello.worker);
        let slot = self.slots.get_mut(&key)?;
        let former = match std::mem::replace(&mut slot.stage, Stage::Vacant { not_before: now }) {
            Stage::Up(worker) => Some(worker),
            _ => None,
        };
        slot.generation = hello.worker.generation;
        // Its pool may be wanted elsewhere by now.
        slot.port = hello.port;
        slot.published = slot.published.map(|_| hello.port);
        let replaced = former.as_ref().and_then(|worker| worker.open_link());
        let mut worker =
            former.unwrap_or_else(|| Box::new(Worker::awaited(hello.container.clone(), now, now)));
        worker.container = hello.container.clone();
        worker.incarnation = Some(hello.incarnation);
        worker.slots = hello.slots;
        let stop_grace = hello.stop_grace.clamp(0.0, MAX_STOP_GRACE_SECONDS);
        worker.stop_grace = Duration::try_from_secs_f64(stop_grace).ok();
        worker.link = Link::Open { no: link, heard_at: now };
        worker.leaving_since = None;
        worker.running = hello.running.iter().map(|running| (running.task, held(running, now))).collect();
        slot.enter(Stage::Up(worker), None, now);
        if let Some(replaced) = replaced {
            self.links.remove(&replaced);
        }
        self.links.insert(link, key);
        replaced
    }

    /// A worker said something; `None` when nobody has this link.
    pub(crate) fn hear(&mut self, link: LinkNo, now: Moment) -> Option<WorkerId> {
        let slot = self.slots.get_mut(self.links.get(&link)?)?;
        let id = slot.worker_id();
        slot.worker_mut()?.link = Link::Open { no: link, heard_at: now };
        Some(id)
    }

    /// A worker's link ended; `None` when nobody had it.
    pub(crate) fn disconnect(&mut self, link: LinkNo, now: Moment) -> Option<Disconnected> {
        let slot = self.slots.get_mut(&self.links.remove(&link)?)?;
        let (id, port) = (slot.worker_id(), slot.port);
        let worker = slot.worker_mut()?;
        worker.link = Link::Closed { since: now };
        let (container, is_leaving) = (worker.container.clone(), worker.leaving_since.is_some());
        slot.since = now;
        slot.reason = Some("Its connection closed".to_owned());
        Some(Disconnected { worker: id, container, port, is_leaving })
    }

    /// A worker without a link simulates a crash; `false` when it has one, or is no more.
    pub(crate) fn stop(&mut self, worker: &WorkerId, now: Moment) -> bool {
        let Some(slot) = self.slot_of_mut(worker) else { return false };
        let Some(worker) = slot.worker_mut() else { return false };
        if !matches!(worker.link, Link::Closed { .. } | Link::Awaited { .. }) {
            return false;
        }
        worker.link = Link::Stopped { since: now };
        slot.since = now;
        slot.reason = Some("It simulates a crash".to_owned());
        true
    }

    /// A worker is being stopped and gives these back; returns those of them that it had.
    pub(crate) fn leave(
        &mut self,
        worker: &WorkerId,
        returned: &[(TaskId, AttemptNo)],
        now: Moment,
    ) -> Vec<(TaskId, AttemptNo)> {
        let Some(worker) = self.slot_of_mut(worker).and_then(Slot::worker_mut) else { return Vec::new() };
        worker.leaving_since = Some(now);
        returned.iter().copied().filter(|(id, attempt)| worker.release(*id, *attempt)).collect()
    }

    /// Has the worker of a slot run a task; `None` when it has no link.
    pub(crate) fn give(
        &mut self,
        key: &SlotKey,
        (id, attempt): (TaskId, AttemptNo),
        now: Moment,
    ) -> Option<Given> {
        let slot = self.slots.get_mut(key)?;
        let (id_of_worker, port) = (slot.worker_id(), slot.port);
        let worker = slot.worker_mut()?;
        let link = worker.open_link()?;
        self.given += 1;
        worker.last_given = self.given;
        worker.load.reserve();
        worker.running.insert(id, Held { attempt, since: now });
        Some(Given { worker: id_of_worker, link, port })
    }

    /// A worker gave a result.
    pub(crate) fn finish(&mut self, worker: &WorkerId, id: TaskId, attempt: AttemptNo) {
        if let Some(worker) = self.slot_of_mut(worker).and_then(Slot::worker_mut) {
            worker.release(id, attempt);
            worker.tasks_done += 1;
        }
    }

    /// A worker does not have what it was to be given; `false` when nobody has this link.
    pub(crate) fn take_order_back(&mut self, link: LinkNo, id: TaskId, attempt: AttemptNo) -> bool {
        let Some(key) = self.links.get(&link) else { return false };
        if let Some(worker) = self.slots.get_mut(key).and_then(Slot::worker_mut) {
            worker.release(id, attempt);
        }
        true
    }

    /// Nobody was listened to: everybody gets the time to speak, or until `until` to come back.
    pub(crate) fn excuse_silence(&mut self, until: Moment, now: Moment) {
        for worker in self.slots.values_mut().filter_map(Slot::worker_mut) {
            match &mut worker.link {
                Link::Open { heard_at, .. } => *heard_at = now,
                Link::Awaited { until: former } => *former = until,
                Link::Closed { since } => *since = now,
                Link::Stopped { .. } => {}
            }
        }
    }
}

/// What a worker says it runs. How long it has is what the worker measured; the wall says nothing of it.
fn held(running: &Running, now: Moment) -> Held {
    Held { attempt: running.attempt, since: now.before(running.ran_for) }
}
