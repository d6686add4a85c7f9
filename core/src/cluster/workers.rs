//! What workers say: joining, reporting, falling silent.

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::link::{AttemptResult, Running, WorkerHello};
use clb_protocol::{AttemptNo, TaskId, WorkerId};

use crate::clock::Moment;
use crate::fleet::{Disconnected, Link, Slot, Worker, key_of};
use crate::input::{LinkNo, ProbeAnswer};
use crate::output::{Change, FleetAction, Note, Order, Output};
use crate::task::{Phase, RunningAttempt};

use super::{Cluster, DOUBT, Settling};

impl Cluster {
    pub(super) fn join(&mut self, link: LinkNo, hello: WorkerHello, now: Moment, out: &mut Output) {
        if self.retired || !self.fleet.may_join(&hello.worker) {
            out.dropped.push(link);
            out.notes.push(Note::Fleet(format!("{} is no longer wanted and was turned away", hello.worker)));
            return;
        }
        self.let_go_of_missing(&hello, now, out);
        out.dropped.extend(self.fleet.connect(link, &hello, now));
        for running in &hello.running {
            self.adopt(running, &hello.worker, link, out);
        }
        for result in hello.finished {
            self.take_result((link, &hello.worker), result, now, out);
        }
        out.fleet.push(FleetAction::Measure { worker: hello.worker, container: hello.container });
    }

    /// Ends every attempt that was thought to be with the worker and is not.
    fn let_go_of_missing(&mut self, hello: &WorkerHello, now: Moment, out: &mut Output) {
        let mut expected = self.fleet.take_claimed(&hello.worker);
        let mut same_process = true;
        if let Some(worker) = self.fleet.slot(&key_of(&hello.worker)).and_then(Slot::worker) {
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
                self.fleet.is_lost_with(worker, (id, running.attempt)) || running.attempt > task.last_attempt
            }
            Phase::Undecided(lost) => lost.attempt == running.attempt && lost.worker == *worker,
            Phase::Running(_) | Phase::Accepted { .. } => false,
        };
        if !goes_on {
            return out.orders.push((link, order));
        }
        self.tasks.resume(id, adopted.clone());
        if self.fleet.forget_loss(worker, (id, running.attempt)) {
            self.tasks.refund(id);
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
        let Some(worker_id) = self.fleet.hear(link, now) else {
            out.dropped.push(link);
            return;
        };
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
        for (id, attempt) in self.fleet.leave(worker_id, returned, now) {
            if self.tasks.is_current(id, attempt) {
                let detail = "The worker was stopped and gave the task back";
                self.requeue(id, Verdict::new(VerdictKind::Stopped, detail), now, out);
            }
        }
    }

    /// Gives everybody the time to speak or to come back that the leader did not listen.
    pub(super) fn excuse_silence(&mut self, now: Moment) {
        self.fleet.excuse_silence(now + self.config.silence_limit, now);
        let until = now + self.config.settle_limit;
        self.settling = Some(Settling { until, may_end_early: false });
    }

    /// Whether no worker has been heard for so long that it may be this leader that nobody reaches.
    #[must_use]
    pub fn is_unheard(&self, now: Moment) -> bool {
        let mut workers = self.fleet.slots().filter_map(Slot::worker).peekable();
        let is_unheard = |worker: &Worker| match worker.link {
            Link::Open { heard_at, .. } => heard_at + DOUBT <= now,
            Link::Awaited { .. } | Link::Closed { .. } | Link::Stopped { .. } => false,
        };
        workers.peek().is_some() && workers.all(is_unheard)
    }

    pub(super) fn lose_link(&mut self, link: LinkNo, now: Moment, out: &mut Output) {
        let Some(lost) = self.fleet.disconnect(link, now) else { return };
        let Disconnected { worker, container, port, is_leaving } = lost;
        self.lose_running(&key_of(&worker), now, out);
        if !is_leaving {
            out.notes.push(Note::WorkerCrashed);
        }
        out.fleet.push(FleetAction::Probe { worker, container, port });
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
        if !self.fleet.take_order_back(link, id, attempt) || !self.tasks.is_current(id, attempt) {
            return;
        }
        match unreadable {
            None => {
                let verdict = Verdict::new(VerdictKind::HostLost, "The order did not reach the worker");
                self.requeue(id, verdict, now, out);
            }
            Some(reason) => {
                let detail = format!("Its spec cannot be read from the store: {reason}");
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
        if answer != ProbeAnswer::Stopped || !self.fleet.stop(worker_id, now) {
            return;
        }
        let key = key_of(worker_id);
        self.lose_running(&key, now, out);
        let verdict = Verdict::new(VerdictKind::Stopped, "The worker was told to simulate a crash");
        self.pronounce(&key, &verdict, now, out);
    }
}
