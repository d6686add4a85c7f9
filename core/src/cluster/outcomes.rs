//! How attempts end that are not lost, and tasks with them.

use clb_protocol::api::{TaskError, Verdict, VerdictKind};
use clb_protocol::link::{AttemptResult, Cause, Failure, Yield};
use clb_protocol::{TaskId, WorkerId};
use serde_json::value::RawValue;

use crate::clock::Moment;
use crate::fleet::Slot;
use crate::input::LinkNo;
use crate::output::{Change, Ending, LastAttempt, Note, Order, Output};
use crate::task::{Ended, Phase, Repeat, RunningAttempt, Task};

use super::Cluster;

impl Cluster {
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
        self.fleet.finish(worker, id, attempt);
        out.acks.push((link, id, attempt));
        out.notes.push(Note::ReceivedResult(id));
        let Some(task) = self.tasks.get(id).filter(|task| task.is_stored()) else {
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
        let Some(task) = self.tasks.charge(id) else { return };
        if task.ends_with(verdict.kind, repeat) {
            let error = last_words(task, verdict, repeat);
            self.end(id, Ending::Failed(error, result), None, Some(verdict.clone()), now, out);
        } else if let Some(running) = task.running() {
            out.changes.push(Change::AttemptEnded {
                task: id,
                attempt: running.attempt,
                at: now.at,
                verdict: Some(verdict.clone()),
                costs: true,
            });
            self.tasks.come_back(id, now);
        }
    }

    /// The current attempt ended without counting.
    pub(super) fn requeue(&mut self, id: TaskId, verdict: Verdict, now: Moment, out: &mut Output) {
        let Some(attempt) = self.tasks.running(id).map(|running| running.attempt) else { return };
        let verdict = Some(verdict);
        out.changes.push(Change::AttemptEnded { task: id, attempt, at: now.at, verdict, costs: false });
        self.tasks.put_back(id);
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
        let Some(Ended { seq, phase }) = self.tasks.end(id, &ending) else { return };
        let current = match phase {
            Phase::Running(running) => {
                self.stop_running(id, &running, from.is_some(), now, out);
                Some(*running)
            }
            Phase::Undecided(lost) => Some(*lost),
            Phase::Resting { .. } | Phase::Deferred { .. } | Phase::Queued | Phase::Accepted { .. } => None,
        };
        let last = from.or(current).map(|attempt| LastAttempt {
            attempt: attempt.attempt,
            worker: attempt.worker,
            epoch: attempt.epoch,
            started_at: attempt.started_at,
            verdict,
        });
        out.notes.push(Note::SentResult(id));
        out.changes.push(Change::TaskEnded { seq, task: id, at: now.at, ending, last });
    }

    /// Tells the worker that still runs an attempt of a task that ended.
    fn stop_running(
        &self,
        id: TaskId,
        running: &RunningAttempt,
        superseded: bool,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(worker) = self.fleet.slot_of(&running.worker).and_then(Slot::worker) else { return };
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
pub(super) fn last_words(task: &Task, last: &Verdict, repeat: Repeat) -> TaskError {
    let code = match last.kind {
        VerdictKind::Failed => "failed",
        VerdictKind::TimedOut => "timed_out",
        VerdictKind::Oom => "oom",
        _ => "attempts_exhausted",
    };
    let message = if repeat == Repeat::IsUseless {
        format!("Another attempt would fail the same way: {}", last.detail)
    } else if task.is_exhausted() {
        format!("{} of {} attempts are spent; the last: {}", task.spent, task.max_attempts, last.detail)
    } else {
        format!("Only lost attempts are retried (its `retry` says so); the last attempt: {}", last.detail)
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
