//! The workers' processes, and what they say.

use std::collections::BTreeMap;

use clb_protocol::link::{AttemptResult, Running, WorkerHello, Yield};
use clb_protocol::{
    AttemptNo, Epoch, Generation, Incarnation, PoolVersion, SlotNo, TaskId, Timestamp, WorkerId,
};

use super::engine::container;
use super::{SLOTS, STOP_GRACE, World};
use crate::build::Build;
use crate::clock::Moment;
use crate::input::{Input, LinkNo};
use crate::output::Output;

#[derive(Debug, Default)]
pub(in crate::cluster::tests) struct Process {
    pub(in crate::cluster::tests) is_stopped: bool,
    pub(in crate::cluster::tests) link: Option<LinkNo>,
    pub(in crate::cluster::tests) running: BTreeMap<TaskId, (AttemptNo, Epoch, Moment)>,
    pub(super) outbox: Vec<AttemptResult>,
    pub(in crate::cluster::tests) version: PoolVersion,
    pub(super) build: Option<Build>,
    pub(super) port: u16,
    pub(super) published: Option<u16>,
}

impl Process {
    /// As its container makes it.
    fn begun_anew(&self) -> Self {
        let build = self.build.clone();
        Self { version: self.version, build, port: self.port, published: self.published, ..Self::default() }
    }
}

impl World {
    pub(in crate::cluster::tests) fn worker(&self, slot: u16) -> Option<WorkerId> {
        self.worker_in("default", slot)
    }

    pub(in crate::cluster::tests) fn worker_in(&self, pool: &str, slot: u16) -> Option<WorkerId> {
        let is_it = |worker: &&WorkerId| worker.pool.as_str() == pool && worker.slot == SlotNo(slot);
        self.containers.keys().rfind(is_it).cloned()
    }

    pub(in crate::cluster::tests) fn join(&mut self, worker: &WorkerId) {
        self.next += 1;
        let link = LinkNo(self.next);
        let Some((true, process)) = self.containers.get_mut(worker) else { return };
        if process.is_stopped || process.link.is_some() {
            return;
        }
        process.link = Some(link);
        let running = process.running.iter().map(|(task, (attempt, epoch, begun))| Running {
            task: *task,
            attempt: *attempt,
            epoch: *epoch,
            started_at: begun.at,
            ran_for: self.now.since(*begun),
        });
        let hello = WorkerHello {
            worker: worker.clone(),
            incarnation: Incarnation(uuid_of(worker.generation)),
            container: container(worker),
            port: process.port,
            slots: SLOTS,
            stop_grace: STOP_GRACE.as_secs_f64(),
            running: running.collect(),
            finished: std::mem::take(&mut process.outbox),
        };
        self.tell(Input::WorkerJoined { link, hello });
    }

    pub(in crate::cluster::tests) fn join_all(&mut self) {
        let workers: Vec<WorkerId> = self.containers.keys().cloned().collect();
        for worker in workers {
            self.join(&worker);
        }
    }

    /// The worker reports what it has in its outbox.
    pub(in crate::cluster::tests) fn report(&mut self, worker: &WorkerId) -> Option<Output> {
        let Some((true, process)) = self.containers.get(worker) else { return None };
        let link = process.link?;
        let finished = process.outbox.clone();
        Some(self.tell(Input::WorkerReported { link, finished, leaving: None }))
    }

    pub(in crate::cluster::tests) fn finish(&mut self, worker: &WorkerId, gave: &Yield) -> Option<Output> {
        let Some((true, process)) = self.containers.get_mut(worker) else { return None };
        if let Some((task, (attempt, epoch, _))) = process.running.pop_first() {
            process.outbox.push(result(task, attempt, epoch, gave.clone()));
        }
        self.report(worker)
    }

    pub(in crate::cluster::tests) fn leave(&mut self, worker: &WorkerId) {
        let Some((true, process)) = self.containers.get_mut(worker) else { return };
        let Some(link) = process.link else { return };
        let returned =
            std::mem::take(&mut process.running).into_iter().map(|(id, (no, ..))| (id, no)).collect();
        self.tell(Input::WorkerReported { link, finished: Vec::new(), leaving: Some(returned) });
    }

    /// The connection breaks; the process lives on.
    pub(in crate::cluster::tests) fn cut(&mut self, worker: &WorkerId) {
        if let Some(link) = self.containers.get_mut(worker).and_then(|(_, process)| process.link.take()) {
            self.tell(Input::LinkClosed(link));
        }
    }

    pub(in crate::cluster::tests) fn kill(&mut self, worker: &WorkerId) {
        self.cut(worker);
        if let Some(container) = self.containers.get_mut(worker) {
            *container = (false, container.1.begun_anew());
        }
    }

    pub(in crate::cluster::tests) fn soft_stop(&mut self, worker: &WorkerId) {
        self.cut(worker);
        if let Some((true, process)) = self.containers.get_mut(worker) {
            *process = Process { is_stopped: true, ..process.begun_anew() };
        }
    }
}

pub(super) fn result(task: TaskId, attempt: AttemptNo, epoch: Epoch, gave: Yield) -> AttemptResult {
    AttemptResult { task, attempt, epoch, started_at: Timestamp(0), ended_at: Timestamp(0), gave }
}

fn uuid_of(generation: Generation) -> uuid::Uuid {
    uuid::Uuid::from_u128(u128::from(generation.0))
}
