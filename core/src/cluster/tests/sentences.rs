//! What the reducer does, one sentence each.

use std::time::Duration;

use clb_protocol::api::{VerdictKind, WorkerState};
use clb_protocol::link::{Cause, Failure, Yield};
use clb_protocol::{AttemptNo, TaskId};

use super::world::{World, succeeded};
use crate::input::{Cancellable, Input};
use crate::output::{CancelReceipt, Change, Ending, Receipt};

impl World {
    pub(super) fn expect_running(&self, slot: u16, tasks: &[TaskId]) {
        let worker = self.worker(slot).expect("a container in that slot");
        let running: Vec<TaskId> = self.containers[&worker].1.running.keys().copied().collect();
        assert_eq!(running, tasks, "on worker-{slot}");
    }

    pub(super) fn expect_state(&self, slot: u16, state: WorkerState) {
        let found = self.cluster.workers().find(|view| view.slot.0 == slot).expect("that slot");
        assert_eq!(found.state, state, "of worker-{slot}");
    }

    pub(super) fn expect_ending(&self, task: TaskId, ending: Option<&'static str>) {
        assert_eq!(self.rows[&task].ending, ending);
    }

    pub(super) fn expect_attempt(&self, task: TaskId, no: u32, verdict: Option<VerdictKind>, costs: bool) {
        let attempt = &self.rows[&task].attempts[&AttemptNo(no)];
        assert_eq!((attempt.verdict, attempt.costs), (verdict, costs));
    }

    pub(super) fn submitted(&mut self, count: usize) -> Vec<TaskId> {
        let tasks = self.submit(count);
        self.save();
        tasks
    }
}

#[test]
fn a_task_is_not_run_before_it_is_on_disk() {
    let mut c = World::with_workers(1);
    let tasks = c.submit(1);
    c.expect_running(1, &[]);
    c.save();
    c.expect_running(1, &tasks);
}

#[test]
fn tasks_spread_over_idle_workers_and_the_rest_waits_here() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(5);
    c.expect_running(1, &[tasks[0], tasks[2]]);
    c.expect_running(2, &[tasks[1], tasks[3]]);
    assert_eq!(c.cluster.counts().queued, 1);
}

#[test]
fn a_slot_freed_by_a_result_is_refilled_in_the_same_step() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    let worker = c.worker(1).unwrap();
    c.finish(&worker, &succeeded());
    c.expect_ending(tasks[0], Some("succeeded"));
    c.expect_running(1, &[tasks[1], tasks[2]]);
}

#[test]
fn a_closed_link_moves_the_task_at_once_and_the_verdict_follows() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    c.kill(&worker);
    c.expect_running(2, &[task]);
    c.expect_attempt(task, 1, None, true);
    c.tell(Input::ContainerDied(worker));
    c.act();
    c.expect_attempt(task, 1, Some(VerdictKind::Killed), true);
    assert_eq!(c.worker(1).unwrap().generation.0, 2);
    c.expect_state(1, WorkerState::Starting);
    c.join_all();
    c.expect_state(1, WorkerState::Ready);
}

#[test]
fn the_last_attempt_waits_for_its_verdict_before_the_task_fails() {
    let mut c = World::with_workers(1);
    let task = c.submit_with(1, 1)[0];
    c.save();
    let worker = c.worker(1).unwrap();
    c.kill(&worker);
    c.expect_ending(task, None);
    c.tell(Input::ContainerDied(worker));
    c.act();
    c.expect_ending(task, Some("failed"));
}

#[test]
fn a_worker_stopped_on_purpose_costs_no_attempt() {
    let mut c = World::with_workers(1);
    let task = c.submit_with(1, 1)[0];
    c.save();
    let worker = c.worker(1).unwrap();
    c.tell(Input::ContainerSignalled { worker: worker.clone(), signal: 15 });
    c.kill(&worker);
    c.tell(Input::ContainerDied(worker));
    c.act();
    c.join_all();
    c.expect_attempt(task, 1, Some(VerdictKind::Stopped), false);
    c.expect_running(1, &[task]);
}

#[test]
fn a_leaving_worker_gives_its_tasks_back_and_gets_no_more() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(2);
    let worker = c.worker(1).unwrap();
    c.leave(&worker);
    c.expect_running(1, &[]);
    c.expect_running(2, &tasks);
    c.expect_attempt(tasks[0], 1, Some(VerdictKind::Stopped), false);
    c.expect_state(1, WorkerState::Draining);
}

#[test]
fn a_simulated_crash_moves_the_tasks_and_is_left_alone_for_its_grace() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    c.soft_stop(&worker);
    c.act();
    c.expect_running(2, &[task]);
    c.expect_attempt(task, 1, Some(VerdictKind::Stopped), false);
    c.expect_state(1, WorkerState::Stopped);
    c.tell(Input::TimePassed);
    assert_eq!(c.worker(1), Some(worker.clone()));
    let healthy = c.worker(2).unwrap();
    for _ in 0..60 {
        c.report(&healthy);
        c.pass(Duration::from_secs(1));
    }
    c.act();
    assert_ne!(c.worker(1), Some(worker));
}

#[test]
fn a_silent_worker_is_hung_and_is_replaced() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    let healthy = c.worker(2).unwrap();
    c.pass(Duration::from_millis(2_900));
    c.report(&healthy);
    c.expect_running(1, &[task]);
    c.pass(Duration::from_millis(100));
    c.expect_running(2, &[task]);
    c.act();
    c.expect_attempt(task, 1, Some(VerdictKind::Hung), true);
}

#[test]
fn a_worker_that_comes_back_in_time_keeps_what_nobody_else_took() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    c.cut(&worker);
    c.join(&worker);
    c.expect_running(1, &[task]);
    c.expect_attempt(task, 1, None, false);
    c.finish(&worker, &succeeded());
    c.expect_ending(task, Some("succeeded"));
}

#[test]
fn a_worker_that_joins_again_before_its_old_link_was_seen_to_end_keeps_what_it_has() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    let old = c.containers.get_mut(&worker).and_then(|(_, process)| process.link.take()).unwrap();
    c.join(&worker);
    assert_ne!(c.containers[&worker].1.link, Some(old));
    c.tell(Input::LinkClosed(old));
    c.expect_running(1, &[task]);
    c.expect_state(1, WorkerState::Ready);
    assert_eq!(c.rows[&task].attempts.len(), 1);
}

#[test]
fn failed_attempts_are_retried_until_they_are_spent() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    for _ in 0..3 {
        c.expect_ending(task, None);
        c.finish(&worker, &Yield::failed("no"));
        c.pass(Duration::from_secs(1));
    }
    c.expect_ending(task, Some("failed"));
}

#[test]
fn a_failure_keeps_what_it_gave_and_says_how_it_ended() {
    let given = serde_json::value::to_raw_value("output").unwrap();
    let failed =
        |cause| Yield::Failed(Failure { cause, error: "no".to_owned(), result: Some(given.clone()) });
    let cases = [
        (failed(Cause::Exited(3)), "failed", (VerdictKind::Failed, Some(3), None)),
        (failed(Cause::Killed(11)), "failed", (VerdictKind::Failed, None, Some(11))),
        (failed(Cause::Oom), "oom", (VerdictKind::Oom, None, None)),
        (Yield::TimedOut(Some(given.clone())), "timed_out", (VerdictKind::TimedOut, None, None)),
    ];
    for (gave, code, expected) in cases {
        let mut c = World::with_workers(1);
        c.submit_with(1, 1);
        c.save();
        let worker = c.worker(1).unwrap();
        let out = c.finish(&worker, &gave).expect("a worker with a link");
        let [Change::TaskEnded { ending: Ending::Failed(error, Some(result)), last: Some(last), .. }] =
            &out.changes[..]
        else {
            panic!("{:?}", out.changes)
        };
        assert_eq!((error.code.as_str(), result.get()), (code, "\"output\""));
        let verdict = last.verdict.as_ref().unwrap();
        assert_eq!((verdict.kind, verdict.exit_code, verdict.signal), expected);
    }
}

#[test]
fn a_cancelled_task_ends_at_once_and_its_slot_is_free_when_the_worker_lets_go() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    let out = c.cancel(vec![tasks[0]], Cancellable::Open);
    assert_eq!(out.cancelled, [CancelReceipt::Cancelled]);
    c.expect_ending(tasks[0], Some("cancelled"));
    c.expect_running(1, &[tasks[1]]);
    let worker = c.worker(1).unwrap();
    c.report(&worker);
    c.expect_running(1, &[tasks[1], tasks[2]]);
    let again = c.cancel(vec![tasks[0]], Cancellable::Open);
    assert_eq!(again.cancelled, [CancelReceipt::NotOpen]);
}

#[test]
fn what_a_command_wrote_until_it_was_cancelled_is_kept_after_its_outcome() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    let out = c.cancel(vec![task], Cancellable::Open);
    assert!(out.changes.iter().any(|change| matches!(change, Change::TaskEnded { .. })));
    let worker = c.worker(1).unwrap();
    let out = c.report(&worker).unwrap();
    let kept = out.changes.iter().filter_map(|change| match change {
        Change::CancelledOutputKept { task, attempt, result } => Some((*task, *attempt, result.get())),
        _ => None,
    });
    assert_eq!(kept.collect::<Vec<_>>(), [(task, AttemptNo(1), r#""written""#)]);
    assert!(!out.changes.iter().any(|change| matches!(change, Change::TaskEnded { .. })));
    assert_eq!(out.acks.len(), 1, "the worker may forget it once it is on disk");
}

#[test]
fn submitting_twice_is_known_and_too_much_is_refused() {
    let mut c = World::with_workers(1);
    let task = c.new_task(3);
    c.tell(Input::Submitted(vec![task.clone().into()]));
    let out = c.tell(Input::Submitted(vec![task.clone().into()]));
    assert_eq!(out.receipts, [(task.id, Receipt::Known)]);
}

#[test]
fn nothing_is_handed_out_while_the_store_takes_nothing() {
    let mut c = World::with_workers(1);
    c.tell(Input::StoreAvailable(false));
    let tasks = c.submitted(1);
    c.expect_running(1, &[]);
    c.tell(Input::StoreAvailable(true));
    c.expect_running(1, &tasks);
}

#[test]
fn no_deadline_stays_in_the_past_while_the_store_takes_nothing() {
    let mut c = World::empty(0);
    c.tell(Input::StoreAvailable(false));
    c.pass(Duration::from_secs(1));
    assert!(c.cluster.next_deadline(c.now).is_none_or(|due| due > c.now));
}

#[test]
fn all_workers_killed_one_after_the_other_do_not_spend_all_attempts_of_a_task() {
    let mut c = World::with_workers(3);
    let task = c.submitted(1)[0];
    let workers = [1, 2, 3].map(|slot| c.worker(slot).unwrap());
    for worker in &workers {
        c.kill(worker);
    }
    c.expect_ending(task, None);
    for worker in workers {
        c.tell(Input::ContainerDied(worker));
    }
    c.act();
    c.join_all();
    c.pass(Duration::from_secs(1));
    assert_eq!(c.cluster.counts().running, 1);
}

#[test]
fn a_worker_that_was_not_heard_for_long_gets_nothing_more() {
    let mut c = World::with_workers(2);
    let healthy = c.worker(2).unwrap();
    c.pass(Duration::from_millis(2_100));
    c.report(&healthy);
    let tasks = c.submitted(2);
    c.expect_running(1, &[]);
    c.expect_running(2, &tasks);
}
