//! What happens to tasks: accepted, queued, ended, lost, judged.

use std::sync::Arc;
use std::time::Duration;

use clb_protocol::api::{TaskError, Verdict, VerdictKind};
use clb_protocol::link::{AttemptResult, Cause, Failure, Yield};
use clb_protocol::task::NewTask;
use clb_protocol::{AttemptNo, TaskId, WorkerId};
use serde_json::value::RawValue;

use crate::clock::Moment;
use crate::input::{Cancellable, LinkNo};
use crate::output::{CancelReceipt, Change, Ending, LastAttempt, Note, Order, Output, Receipt};
use crate::queue::Turn;
use crate::task::{Phase, Repeat, RunningAttempt, Task};

use super::{Cluster, SlotKey};

impl Cluster {
    pub(super) fn accept(&mut self, tasks: Vec<Arc<NewTask>>, now: Moment, out: &mut Output) {
        for new in tasks {
            let id = new.id;
            let receipt = if self.tasks.contains(&id) {
                Receipt::Known
            } else if self.pools.get(&new.pool).is_none_or(|pool| pool.is_removing) {
                Receipt::NoSuchPool
            } else if self.waiting() >= self.config.queue_limit {
                Receipt::QueueFull
            } else {
                self.take_in(new, now, out);
                Receipt::Accepted
            };
            out.receipts.push((id, receipt));
        }
    }

    fn take_in(&mut self, new: Arc<NewTask>, now: Moment, out: &mut Output) {
        self.last_submission = self.last_submission.next();
        // In the order of their coming, even when the clock on the wall is set back between them.
        let comes_at = self.began_at.foretell(now);
        let waits_since = comes_at + new.not_before.map_or(Duration::ZERO, |until| until.since(now.at));
        let task = Task {
            seq: self.last_submission,
            pool: new.pool.clone(),
            turn: Turn::new(waits_since, new.priority),
            max_attempts: new.spec.max_attempts,
            spent: 0,
            last_attempt: AttemptNo(0),
            timeout_ms: (new.spec.timeout * 1_000.0) as u64,
            retry: new.spec.retry.map(Box::new),
            phase: Phase::Accepted { not_before: new.not_before },
        };
        self.count_open(&new.pool);
        self.tasks.insert(new.id, task);
        out.notes.push(Note::ReceivedPayload(new.id));
        out.changes.push(Change::TaskAccepted { seq: self.last_submission, at: now.at, task: new });
    }

    /// Tasks that have not ended and are not running.
    fn waiting(&self) -> usize {
        self.tasks.len().saturating_sub(usize::try_from(self.running).unwrap_or(usize::MAX))
    }

    pub(super) fn forget(&mut self, ids: &[TaskId]) {
        for id in ids {
            if self.tasks.get(id).is_some_and(|task| !task.is_stored()) {
                self.tasks.remove(id).inspect(|task| self.discount_open(&task.pool));
            }
        }
    }

    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        which: Cancellable,
        now: Moment,
        out: &mut Output,
    ) -> CancelReceipt {
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_stored()) else {
            return CancelReceipt::NotOpen;
        };
        let is_meant = match which {
            Cancellable::Open => true,
            Cancellable::Waiting => task.running().is_none(),
            Cancellable::Running => task.running().is_some(),
        };
        if !is_meant {
            return CancelReceipt::Spared;
        }
        let verdict = Verdict::new(VerdictKind::Cancelled, "A caller cancelled the task");
        self.end(id, Ending::Cancelled, None, Some(verdict), now, out);
        CancelReceipt::Cancelled
    }

    /// Takes in what an attempt gave. The first outcome wins, whichever attempt it comes from.
    pub(super) fn take_result(
        &mut self,
        from: (LinkNo, &WorkerId),
        result: AttemptResult,
        now: Moment,
        out: &mut Output,
    ) {
        let (link, worker) = from;
        let (id, attempt) = (result.task, result.attempt);
        self.free_slot(worker, id, attempt);
        out.acks.push((link, id, attempt));
        out.notes.push(Note::ReceivedResult(id));
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_stored()) else {
            out.changes.push(evidence(&result));
            if let Yield::Cancelled(Some(result)) = result.gave {
                out.changes.push(Change::CancelledOutputKept { task: id, attempt, result });
            }
            return;
        };
        let is_current = task.running().is_some_and(|r| r.attempt == attempt && r.worker == *worker);
        match result.gave {
            Yield::Succeeded(value) => {
                let given = RunningAttempt {
                    attempt,
                    worker: worker.clone(),
                    epoch: result.epoch,
                    started_at: result.started_at,
                };
                let verdict = Verdict::new(VerdictKind::Succeeded, "It gave a result");
                self.end(
                    id,
                    Ending::Succeeded(value),
                    (!is_current).then_some(given),
                    Some(verdict),
                    now,
                    out,
                );
            }
            Yield::Failed(failure) if is_current => {
                let repeat = Repeat::after(failure.cause);
                let (verdict, result) = judge_failure(failure);
                self.fail_with(id, &verdict, result, repeat, now, out);
            }
            Yield::TimedOut(result) if is_current => {
                let verdict = timed_out(task.timeout_ms);
                self.fail(id, &verdict, result, now, out);
            }
            Yield::Cancelled(_) if is_current => {
                let verdict =
                    Verdict::new(VerdictKind::Cancelled, "The worker gave it up without being asked");
                self.requeue(id, verdict, now, out);
            }
            Yield::Failed(_) | Yield::TimedOut(_) | Yield::Cancelled(_) => {
                out.changes.push(evidence(&result));
            }
        }
    }

    fn free_slot(&mut self, worker: &WorkerId, id: TaskId, attempt: AttemptNo) {
        if let Some(worker) = self.slot_of(worker).and_then(|slot| slot.worker_mut()) {
            if worker.holds(id, attempt) {
                worker.running.remove(&id);
                worker.load.release();
            }
            worker.tasks_done += 1;
        }
    }

    /// Whether a task is running and this is the attempt that runs.
    pub(super) fn is_current(&self, id: TaskId, attempt: AttemptNo) -> bool {
        self.tasks.get(&id).and_then(Task::running).is_some_and(|running| running.attempt == attempt)
    }

    /// The current attempt failed, which counts, and another one may do better.
    pub(super) fn fail(
        &mut self,
        id: TaskId,
        verdict: &Verdict,
        result: Option<Box<RawValue>>,
        now: Moment,
        out: &mut Output,
    ) {
        self.fail_with(id, verdict, result, Repeat::MayHelp, now, out);
    }

    fn fail_with(
        &mut self,
        id: TaskId,
        verdict: &Verdict,
        result: Option<Box<RawValue>>,
        repeat: Repeat,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(attempt) = task.running().map(|running| running.attempt) else { return };
        task.spent += 1;
        if task.ends_with(verdict.kind, repeat) {
            let error = last_words(task, verdict, repeat);
            self.end(id, Ending::Failed(error, result), None, Some(verdict.clone()), now, out);
        } else {
            out.changes.push(Change::AttemptEnded {
                task: id,
                attempt,
                at: now.at,
                verdict: Some(verdict.clone()),
                costs: true,
            });
            self.come_back(id, now);
        }
    }

    /// The current attempt ended without counting.
    pub(super) fn requeue(&mut self, id: TaskId, verdict: Verdict, now: Moment, out: &mut Output) {
        let Some(attempt) = self.tasks.get(&id).and_then(Task::running).map(|running| running.attempt) else {
            return;
        };
        let verdict = Some(verdict);
        out.changes.push(Change::AttemptEnded { task: id, attempt, at: now.at, verdict, costs: false });
        self.put_back(id);
    }

    /// The current attempt was lost with its worker; why is not known yet, so it counts for now.
    pub(super) fn lose(&mut self, id: TaskId, key: &SlotKey, now: Moment, out: &mut Output) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(running) = task.running().cloned() else { return };
        task.spent += 1;
        out.changes.push(Change::AttemptEnded {
            task: id,
            attempt: running.attempt,
            at: now.at,
            verdict: None,
            costs: true,
        });
        if let Some(slot) = self.slots.get_mut(key) {
            if slot.unjudged.is_empty() {
                slot.unjudged_since = now;
            }
            slot.unjudged.push((id, running.attempt));
        }
        if task.is_exhausted() {
            self.placements.let_go(id, running.attempt);
            task.phase = Phase::Undecided(Box::new(running));
            self.running -= 1;
        } else {
            self.come_back(id, now);
        }
    }

    /// Pronounces the verdict on every attempt that was lost in a slot.
    pub(super) fn pronounce(&mut self, key: &SlotKey, verdict: &Verdict, now: Moment, out: &mut Output) {
        if let Some(slot) = self.slots.get_mut(key) {
            let lost = std::mem::take(&mut slot.unjudged);
            self.judge(lost, verdict, now, out);
        }
    }

    /// Pronounces the verdict on these lost attempts.
    pub(super) fn judge(
        &mut self,
        lost: Vec<(TaskId, AttemptNo)>,
        verdict: &Verdict,
        now: Moment,
        out: &mut Output,
    ) {
        let costs = !matches!(verdict.kind, VerdictKind::Stopped | VerdictKind::Drained);
        for (id, attempt) in lost {
            out.changes.push(Change::AttemptJudged { task: id, attempt, verdict: verdict.clone(), costs });
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if !costs {
                task.spent -= 1;
                // What costs nothing is no reason to rest.
                if matches!(task.phase, Phase::Resting { .. }) && task.last_attempt == attempt {
                    self.put_back(id);
                    continue;
                }
            }
            if !matches!(task.phase, Phase::Undecided(_)) {
                continue;
            }
            if !task.is_exhausted() {
                self.put_back(id);
            } else if !self.slots.values().any(|slot| slot.unjudged.iter().any(|(other, _)| *other == id)) {
                let error = last_words(task, verdict, Repeat::MayHelp);
                self.end(id, Ending::Failed(error, None), None, Some(verdict.clone()), now, out);
            }
        }
    }

    /// Records the one outcome of a task. `from` is the attempt that gave it when that is not the
    /// current one.
    pub(super) fn end(
        &mut self,
        id: TaskId,
        ending: Ending,
        from: Option<RunningAttempt>,
        verdict: Option<Verdict>,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(task) = self.tasks.remove(&id) else { return };
        self.discount_open(&task.pool);
        let current = match &task.phase {
            Phase::Running(running) => {
                self.placements.let_go(id, running.attempt);
                self.running -= 1;
                Some(RunningAttempt::clone(running))
            }
            Phase::Undecided(lost) => Some(RunningAttempt::clone(lost)),
            Phase::Resting { .. } | Phase::Deferred { .. } => {
                self.asleep.remove(id, &task.phase);
                None
            }
            Phase::Queued | Phase::Accepted { .. } => {
                self.queue.remove(id, &task);
                None
            }
        };
        if let (Phase::Running(running), superseded) = (&task.phase, from.is_some()) {
            self.stop_running(id, running, superseded, now, out);
        }
        self.ended[match ending {
            Ending::Succeeded(_) => 0,
            Ending::Failed(..) => 1,
            Ending::Cancelled => 2,
        }] += 1;
        self.last_outcome = self.last_outcome.next();
        let last = from.or(current).map(|attempt| LastAttempt {
            attempt: attempt.attempt,
            worker: attempt.worker,
            epoch: attempt.epoch,
            started_at: attempt.started_at,
            verdict,
        });
        out.notes.push(Note::SentResult(id));
        out.changes.push(Change::TaskEnded { seq: self.last_outcome, task: id, at: now.at, ending, last });
    }

    /// Tells the worker that still runs an attempt of a task that ended.
    fn stop_running(
        &mut self,
        id: TaskId,
        running: &RunningAttempt,
        superseded: bool,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(worker) = self.slot_of(&running.worker).and_then(|slot| slot.worker_mut()) else { return };
        if !worker.holds(id, running.attempt) {
            return;
        }
        if let Some(link) = worker.open_link() {
            out.orders.push((link, Order::Cancel(id, running.attempt)));
        }
        if superseded {
            let verdict =
                Verdict::new(VerdictKind::Superseded, "Another attempt's outcome was recorded first");
            out.changes.push(Change::AttemptEnded {
                task: id,
                attempt: running.attempt,
                at: now.at,
                verdict: Some(verdict),
                costs: false,
            });
        }
    }
}

/// The verdict on an attempt that failed, and what it gave nevertheless.
fn judge_failure(failure: Failure) -> (Verdict, Option<Box<RawValue>>) {
    let Failure { cause, error, result } = failure;
    let kind = if cause == Cause::Oom { VerdictKind::Oom } else { VerdictKind::Failed };
    let mut verdict = Verdict::new(kind, error);
    match cause {
        Cause::Exited(code) => verdict.exit_code = Some(i64::from(code)),
        Cause::Killed(signal) => verdict.signal = Some(i64::from(signal)),
        Cause::Oom | Cause::Error | Cause::CannotStart => {}
    }
    (verdict, result)
}

/// The verdict on an attempt that outran its task's timeout.
pub(super) fn timed_out(timeout_ms: u64) -> Verdict {
    let seconds = timeout_ms as f64 / 1_000.0;
    Verdict::new(VerdictKind::TimedOut, format!("It took longer than the timeout of {seconds} s"))
}

/// Why a task failed.
fn last_words(task: &Task, last: &Verdict, repeat: Repeat) -> TaskError {
    let code = match last.kind {
        VerdictKind::Failed => "failed",
        VerdictKind::TimedOut => "timed_out",
        VerdictKind::Oom => "oom",
        _ => "attempts_exhausted",
    };
    let message = if repeat == Repeat::IsUseless {
        format!("No other attempt would do better: {}", last.detail)
    } else if task.is_exhausted() {
        format!("{} of {} attempts are spent; the last: {}", task.spent, task.max_attempts, last.detail)
    } else {
        format!("Only losses are repeated (its `retry` says so); the last attempt: {}", last.detail)
    };
    TaskError { code: code.to_owned(), message }
}

/// What is noted of an attempt whose result changes nothing any more.
fn evidence(result: &AttemptResult) -> Change {
    let verdict = match result.gave {
        Yield::Cancelled(_) => {
            Verdict::new(VerdictKind::Cancelled, "It was stopped because its task had ended")
        }
        _ => Verdict::new(VerdictKind::Superseded, "Another attempt's outcome was recorded first"),
    };
    Change::AttemptJudged { task: result.task, attempt: result.attempt, verdict, costs: false }
}
