//! What workers say: joining, reporting, falling silent.

use std::collections::BTreeMap;
use std::time::Duration;

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::link::{AttemptResult, Running, WorkerHello};
use clb_protocol::pool::MAX_STOP_GRACE_SECONDS;
use clb_protocol::{AttemptNo, TaskId, WorkerId};

use crate::clock::Moment;
use crate::fleet::{Held, Link, Slot, Stage, Worker};
use crate::input::{LinkNo, ProbeAnswer};
use crate::output::{Change, FleetAction, Note, Order, Output};
use crate::task::{Phase, RunningAttempt, Task};

use super::{Cluster, DOUBT, Settling, SlotKey};

impl Cluster {
    pub(super) fn join(&mut self, link: LinkNo, hello: WorkerHello, now: Moment, out: &mut Output) {
        let key = (hello.worker.pool.clone(), hello.worker.slot);
        if !self.may_join(&hello.worker) {
            out.dropped.push(link);
            out.notes.push(Note::Fleet(format!("{} is not wanted any more and was sent away", hello.worker)));
            return;
        }
        self.let_go_of_missing(&hello, &key, now, out);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let former = match std::mem::replace(&mut slot.stage, Stage::Vacant { not_before: now }) {
            Stage::Up(worker) => Some(worker),
            _ => None,
        };
        slot.generation = hello.worker.generation;
        // Its pool may be wanted elsewhere by now.
        slot.port = hello.port;
        slot.published = slot.published.map(|_| hello.port);
        if let Some(ended) = former.as_ref().and_then(|worker| worker.open_link()) {
            self.links.remove(&ended);
            out.dropped.push(ended);
        }
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
        self.links.insert(link, key.clone());
        for running in &hello.running {
            self.adopt(running, &hello.worker, link, out);
        }
        for result in hello.finished {
            self.take_result((link, &hello.worker), result, now, out);
        }
        out.fleet.push(FleetAction::Measure { worker: hello.worker, container: hello.container });
    }

    /// Whether a worker's slot is there and is not meant for another container.
    fn may_join(&self, worker: &WorkerId) -> bool {
        let Some(slot) = self.slots.get(&(worker.pool.clone(), worker.slot)) else { return false };
        if self.retired {
            return false;
        }
        match slot.stage {
            Stage::Up(_) | Stage::Starting { .. } => worker.generation == slot.generation,
            // Before Docker was asked, an empty slot only means that its container is not known yet.
            Stage::Vacant { .. } => !self.observed && worker.generation >= slot.generation,
            Stage::Burying { .. } => false,
        }
    }

    /// Ends every attempt that was thought to be with the worker and is not.
    fn let_go_of_missing(&mut self, hello: &WorkerHello, key: &SlotKey, now: Moment, out: &mut Output) {
        let mut expected = self.unclaimed.remove(&hello.worker).unwrap_or_default();
        let mut same_process = true;
        if let Some(worker) = self.slots.get(key).and_then(Slot::worker) {
            same_process = worker.incarnation.is_none_or(|known| known == hello.incarnation);
            expected.extend(worker.running.iter().map(|(id, held)| (*id, held.attempt)));
        }
        for (id, attempt) in expected {
            let held = hello.running.iter().any(|r| r.task == id && r.attempt == attempt)
                || hello.finished.iter().any(|r| r.task == id && r.attempt == attempt);
            if held || !self.tasks.is_current(id, attempt) {
                continue;
            }
            if same_process {
                let verdict = Verdict::new(VerdictKind::HostLost, "The order did not reach the worker");
                self.requeue(id, verdict, now, out);
            } else {
                let detail = "The worker's process was replaced by another one in the same container";
                self.fail(id, &Verdict::new(VerdictKind::Killed, detail), None, now, out);
            }
        }
    }

    /// Takes over an attempt that a worker says it runs, or tells the worker to stop it.
    fn adopt(&mut self, running: &Running, worker: &WorkerId, link: LinkNo, out: &mut Output) {
        let id = running.task;
        let adopted = RunningAttempt {
            attempt: running.attempt,
            worker: worker.clone(),
            epoch: running.epoch,
            started_at: running.started_at,
        };
        let order = Order::Cancel(id, running.attempt);
        let Some(task) = self.tasks.get(id) else { return out.orders.push((link, order)) };
        let goes_on = match task.phase() {
            Phase::Running(current) if current.attempt == running.attempt && current.worker == *worker => {
                return;
            }
            Phase::Queued | Phase::Resting { .. } | Phase::Deferred { .. } => {
                may_go_on(&self.slots, task, running, worker)
            }
            Phase::Undecided(lost) => lost.attempt == running.attempt && lost.worker == *worker,
            Phase::Running(_) | Phase::Accepted { .. } => false,
        };
        if !goes_on {
            return out.orders.push((link, order));
        }
        self.tasks.resume(id, adopted.clone());
        if let Some(slot) = self.slots.get_mut(&(worker.pool.clone(), worker.slot)) {
            let before = slot.unjudged.len();
            slot.unjudged.retain(|lost| *lost != (id, running.attempt));
            if slot.unjudged.len() < before {
                self.tasks.refund(id);
            }
        }
        out.changes.push(Change::AttemptStarted {
            task: id,
            attempt: adopted.attempt,
            worker: adopted.worker,
            epoch: adopted.epoch,
            at: adopted.started_at,
        });
    }

    pub(super) fn take_report(
        &mut self,
        link: LinkNo,
        finished: Vec<AttemptResult>,
        leaving: Option<Vec<(TaskId, AttemptNo)>>,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(key) = self.links.get(&link).cloned() else {
            out.dropped.push(link);
            return;
        };
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let worker_id = slot.worker_id();
        if let Some(worker) = slot.worker_mut() {
            worker.link = Link::Open { no: link, heard_at: now };
        }
        for result in finished {
            self.take_result((link, &worker_id), result, now, out);
        }
        if let Some(returned) = leaving {
            self.take_leave(&worker_id, &returned, now, out);
        }
    }

    /// A worker that is being stopped gives back what it has not finished, at no cost.
    fn take_leave(
        &mut self,
        worker_id: &WorkerId,
        returned: &[(TaskId, AttemptNo)],
        now: Moment,
        out: &mut Output,
    ) {
        let Some(worker) = self.slot_of(worker_id).and_then(Slot::worker_mut) else { return };
        worker.leaving_since = Some(now);
        let mut given_back = Vec::new();
        for (id, attempt) in returned {
            if worker.holds(*id, *attempt) {
                worker.running.remove(id);
                worker.load.release();
                given_back.push((*id, *attempt));
            }
        }
        for (id, attempt) in given_back {
            if self.tasks.is_current(id, attempt) {
                let detail = "The worker was stopped and gave the task back";
                self.requeue(id, Verdict::new(VerdictKind::Stopped, detail), now, out);
            }
        }
    }

    /// Gives everybody the time to speak or to come back that the leader did not listen.
    pub(super) fn excuse_silence(&mut self, now: Moment) {
        let until = now + self.config.silence_limit;
        for worker in self.slots.values_mut().filter_map(Slot::worker_mut) {
            match &mut worker.link {
                Link::Open { heard_at, .. } => *heard_at = now,
                Link::Awaited { until: former } => *former = until,
                Link::Closed { since } => *since = now,
                Link::Stopped { .. } => {}
            }
        }
        let until = now + self.config.settle_limit;
        self.settling = Some(Settling { until, may_end_early: false });
    }

    /// Whether no worker has been heard for so long that it may be this leader that nobody reaches.
    #[must_use]
    pub fn is_unheard(&self, now: Moment) -> bool {
        let mut workers = self.slots.values().filter_map(Slot::worker).peekable();
        let is_unheard = |worker: &Worker| match worker.link {
            Link::Open { heard_at, .. } => heard_at + DOUBT <= now,
            Link::Awaited { .. } | Link::Closed { .. } | Link::Stopped { .. } => false,
        };
        workers.peek().is_some() && workers.all(is_unheard)
    }

    pub(super) fn lose_link(&mut self, link: LinkNo, now: Moment, out: &mut Output) {
        let Some(key) = self.links.remove(&link) else { return };
        self.lose_running(&key, now, out);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let (worker_id, port) = (slot.worker_id(), slot.port);
        let Some(worker) = slot.worker_mut() else { return };
        worker.link = Link::Closed { since: now };
        let is_leaving = worker.leaving_since.is_some();
        let container = worker.container.clone();
        slot.since = now;
        slot.reason = Some("Its connection closed".to_owned());
        if !is_leaving {
            out.notes.push(Note::WorkerCrashed);
        }
        out.fleet.push(FleetAction::Probe { worker: worker_id, container, port });
    }

    /// A worker does not have what it was to be given, for this reason if that is for good.
    pub(super) fn lose_order(
        &mut self,
        link: LinkNo,
        id: TaskId,
        attempt: AttemptNo,
        unreadable: Option<String>,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(key) = self.links.get(&link).cloned() else { return };
        if let Some(worker) = self.slots.get_mut(&key).and_then(Slot::worker_mut)
            && worker.holds(id, attempt)
        {
            worker.running.remove(&id);
            worker.load.release();
        }
        if !self.tasks.is_current(id, attempt) {
            return;
        }
        match unreadable {
            None => {
                let verdict = Verdict::new(VerdictKind::HostLost, "The order did not reach the worker");
                self.requeue(id, verdict, now, out);
            }
            Some(reason) => {
                let detail = format!("What it is to do cannot be read from the store: {reason}");
                self.fail(id, &Verdict::new(VerdictKind::Failed, detail), None, now, out);
            }
        }
    }

    pub(super) fn take_probe(
        &mut self,
        worker_id: &WorkerId,
        answer: ProbeAnswer,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(slot) = self.slot_of(worker_id) else { return };
        let Some(worker) = slot.worker_mut() else { return };
        let without_link = matches!(worker.link, Link::Closed { .. } | Link::Awaited { .. });
        if !without_link || answer != ProbeAnswer::Stopped {
            return;
        }
        worker.link = Link::Stopped { since: now };
        slot.since = now;
        slot.reason = Some("It simulates a crash".to_owned());
        let key = (worker_id.pool.clone(), worker_id.slot);
        self.lose_running(&key, now, out);
        let verdict = Verdict::new(VerdictKind::Stopped, "The worker was told to simulate a crash");
        self.pronounce(&key, &verdict, now, out);
    }
}

/// What a worker says it runs. How long it has is what the worker measured; the wall says nothing of it.
fn held(running: &Running, now: Moment) -> Held {
    Held { attempt: running.attempt, since: now.before(running.ran_for) }
}

/// Whether an attempt that was given up can still be the task's current one: its loss has not been
/// judged, or its start was not on record when the leader changed.
fn may_go_on(slots: &BTreeMap<SlotKey, Slot>, task: &Task, running: &Running, worker: &WorkerId) -> bool {
    let slot = slots.get(&(worker.pool.clone(), worker.slot));
    let is_unjudged = slot.is_some_and(|slot| slot.unjudged.contains(&(running.task, running.attempt)));
    is_unjudged || running.attempt > task.last_attempt
}
