//! What the reducer does, one sentence each.

use std::time::Duration;

use clb_protocol::api::{VerdictKind, WorkerState};
use clb_protocol::link::{Cause, Failure, Yield};
use clb_protocol::{AttemptNo, TaskId};

use super::world::{World, container, succeeded};
use crate::input::{Cancellable, Input, SeenWorker};
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
fn a_new_leader_adopts_what_runs_and_takes_what_was_finished() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(2);
    c.change_leader();
    let first = c.worker(1).unwrap();
    c.finish(&first, &succeeded());
    c.observe();
    c.join_all();
    c.expect_ending(tasks[0], Some("succeeded"));
    c.expect_running(2, &[tasks[1]]);
    assert_eq!(c.rows[&tasks[1]].attempts.len(), 1);
}

#[test]
fn a_new_leader_hands_nothing_out_before_the_living_have_joined_or_their_time_is_over() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(5);
    c.change_leader();
    c.observe();
    let first = c.worker(1).unwrap();
    c.finish(&first, &succeeded());
    c.join(&first);
    c.expect_running(1, &[tasks[2]]);
    c.pass(Duration::from_secs(1));
    c.expect_running(1, &[tasks[2], tasks[4]]);
}

#[test]
fn a_new_leader_reruns_what_was_on_a_container_that_is_gone() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    c.containers.remove(&worker);
    c.change_leader();
    c.observe();
    c.act();
    c.join_all();
    c.expect_attempt(task, 1, Some(VerdictKind::HostLost), true);
    assert_eq!(c.rows[&task].attempts.len(), 2);
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
fn a_container_that_cannot_be_made_is_tried_again_later_and_says_why() {
    let mut c = World::empty(1);
    c.observe();
    let out = c.actions.remove(0);
    let crate::output::FleetAction::Create { worker, .. } = out else { panic!("{out:?}") };
    c.tell(Input::ContainerFailed { worker, reason: "no such image".to_owned() });
    c.expect_state(1, WorkerState::BackingOff);
    let view = c.cluster.workers().next().unwrap();
    assert_eq!(view.reason.as_deref(), Some("no such image"));
    let next = c.cluster.next_deadline(c.now).unwrap();
    c.pass(next.since(c.now));
    assert_eq!(c.actions.len(), 1);
}

#[test]
fn a_stray_container_is_removed_and_a_living_one_is_adopted() {
    let mut c = World::with_workers(2);
    let worker = c.worker(1).unwrap();
    c.change_leader();
    c.observe();
    c.act();
    c.join_all();
    assert_eq!(c.worker(1), Some(worker));
    c.expect_state(1, WorkerState::Ready);
}

#[test]
fn no_deadline_stays_in_the_past_while_the_store_takes_nothing() {
    let mut c = World::empty(0);
    c.tell(Input::StoreAvailable(false));
    c.pass(Duration::from_secs(1));
    assert!(c.cluster.next_deadline(c.now).is_none_or(|due| due > c.now));
}

#[test]
fn a_list_from_before_a_container_started_does_not_bury_it() {
    let mut c = World::empty(1);
    c.observe();
    let asked_at = c.now;
    c.now = c.now + Duration::from_millis(5);
    c.act_once();
    let worker = c.worker(1).unwrap();
    let (container, version) = (container(&worker), c.containers[&worker].1.version);
    let made = SeenWorker {
        container,
        worker: worker.clone(),
        version,
        build: None,
        port: None,
        published: None,
        alive: false,
    };
    c.tell(Input::FleetObserved { seen: vec![made], asked_at });
    c.join(&worker);
    c.expect_state(1, WorkerState::Ready);
    c.tell(Input::FleetObserved { seen: Vec::new(), asked_at });
    c.expect_state(1, WorkerState::Ready);
}

#[test]
fn a_cluster_that_is_taken_down_gives_everything_back_at_no_cost_and_heals_nothing() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    c.tell(Input::Retired);
    assert!(!c.cluster.is_retired());
    c.act();
    assert!(c.cluster.is_retired());
    assert!(c.containers.is_empty());
    c.expect_ending(task, None);
    c.expect_attempt(task, 1, Some(VerdictKind::Drained), false);
    c.pass(Duration::from_mins(1));
    assert!(c.actions.is_empty());
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

#[test]
fn a_leader_that_did_not_run_for_a_while_gives_nobody_up_for_it() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    c.act();
    c.now = c.now + Duration::from_secs(9);
    c.tell(Input::Resumed);
    c.tell(Input::TimePassed);
    c.expect_running(1, &[task]);
    assert!(c.actions.is_empty());
    let worker = c.worker(1).unwrap();
    c.cut(&worker);
    c.join(&worker);
    c.expect_running(1, &[task]);
    assert_eq!(c.rows[&task].attempts.len(), 1);
}

#[test]
fn a_death_before_the_first_list_is_believed_though_the_list_shows_it_alive() {
    let mut c = World::with_workers(1);
    let worker = c.worker(1).unwrap();
    c.change_leader();
    c.tell(Input::ContainerDied(worker));
    c.observe();
    c.expect_state(1, WorkerState::Lost);
}

#[test]
fn a_leader_that_nobody_speaks_to_notices_it() {
    let mut c = World::with_workers(2);
    assert!(!c.cluster.is_unheard(c.now));
    let healthy = c.worker(2).unwrap();
    c.pass(Duration::from_millis(2_100));
    assert!(c.cluster.is_unheard(c.now));
    c.report(&healthy);
    assert!(!c.cluster.is_unheard(c.now));
}
