//! What waits, for what, for how long, and what is said of it: one sentence each.

use std::time::Duration;

use clb_protocol::api::{TaskState, VerdictKind, WaitReason};
use clb_protocol::link::Yield;
use clb_protocol::task::{Retry, RetryOn};
use clb_protocol::{AttemptNo, TaskId};

use super::world::{World, succeeded};
use crate::input::{Cancellable, Input};
use crate::output::{CancelReceipt, Change, Ending};

const NO: fn() -> Yield = || Yield::failed("no");

fn patient(delay: f64, factor: f64) -> Retry {
    Retry { delay: Some(delay), factor, max_delay: 86_400.0, ..Retry::default() }
}

impl World {
    /// One task with this retry, which runs on worker 1.
    fn retrying(&mut self, retry: Option<Retry>) -> TaskId {
        let task = self.submit_like(1, 3, |task| task.spec.retry = retry)[0];
        self.save();
        self.expect_running(1, &[task]);
        task
    }

    /// One task that is put off by this.
    fn put_off(&mut self, span: Duration) -> TaskId {
        let until = self.now.at + span;
        let task = self.submit_like(1, 3, |task| task.not_before = Some(until))[0];
        self.save();
        task
    }

    fn with_priority(&mut self, priority: i8) -> TaskId {
        let task = self.submit_like(1, 3, |task| task.priority = priority)[0];
        self.save();
        task
    }

    /// Worker 1 gives one result after the other and takes what waits, in this order.
    fn order_of_starts(&mut self, count: usize) -> Vec<TaskId> {
        let worker = self.worker(1).unwrap();
        let mut started = Vec::new();
        while started.len() < count {
            let out = self.finish(&worker, &succeeded()).expect("a worker with a link");
            started.extend(out.changes.iter().filter_map(|change| match change {
                Change::AttemptStarted { task, .. } => Some(*task),
                _ => None,
            }));
        }
        started
    }

    fn waits_for(&self, task: TaskId) -> WaitReason {
        self.cluster.explain(task, self.now).and_then(|it| it.waiting).expect("a task that waits").reason
    }

    fn summary(&self, task: TaskId) -> String {
        self.cluster.explain(task, self.now).expect("an open task").summary
    }

    /// A second passes in which worker 1 is heard.
    fn pass_alive(&mut self, span: Duration) {
        let worker = self.worker(1).unwrap();
        let end = self.now + span;
        while self.now < end {
            self.report(&worker);
            self.pass(Duration::from_secs(1).min(end.since(self.now)));
        }
    }
}

#[test]
fn a_failed_attempt_is_repeated_after_its_delay_and_not_before() {
    let mut c = World::with_workers(1);
    let task = c.retrying(Some(patient(10.0, 3.0)));
    let worker = c.worker(1).unwrap();
    c.finish(&worker, &NO());
    c.expect_running(1, &[]);
    assert_eq!(c.waits_for(task), WaitReason::Resting);
    c.pass_alive(Duration::from_millis(9_900));
    c.expect_running(1, &[]);
    c.pass_alive(Duration::from_millis(100));
    c.expect_running(1, &[task]);
    c.finish(&worker, &NO());
    c.pass_alive(Duration::from_millis(29_900));
    c.expect_running(1, &[]);
    c.pass_alive(Duration::from_millis(100));
    c.expect_running(1, &[task]);
}

#[test]
fn without_a_delay_the_first_failure_is_repeated_at_once() {
    let mut c = World::with_workers(1);
    let task = c.retrying(None);
    let worker = c.worker(1).unwrap();
    c.finish(&worker, &NO());
    c.expect_running(1, &[task]);
    c.finish(&worker, &NO());
    c.expect_running(1, &[]);
    c.pass(Duration::from_millis(500));
    c.expect_running(1, &[task]);
}

#[test]
fn a_new_leader_goes_on_with_the_rest_of_a_task() {
    let mut c = World::with_workers(1);
    let task = c.retrying(Some(patient(10.0, 1.0)));
    let worker = c.worker(1).unwrap();
    c.finish(&worker, &NO());
    c.pass_alive(Duration::from_secs(4));
    c.change_leader();
    c.observe();
    c.join_all();
    assert_eq!(c.waits_for(task), WaitReason::Resting);
    c.pass_alive(Duration::from_millis(5_900));
    c.expect_running(1, &[]);
    c.pass_alive(Duration::from_millis(100));
    c.expect_running(1, &[task]);
}

#[test]
fn a_loss_that_costs_nothing_is_no_reason_to_rest() {
    let mut c = World::with_workers(2);
    let task = c.retrying(Some(patient(3_600.0, 1.0)));
    let worker = c.worker(1).unwrap();
    c.soft_stop(&worker);
    c.expect_running(2, &[]);
    c.act();
    c.expect_attempt(task, 1, Some(VerdictKind::Stopped), false);
    c.expect_running(2, &[task]);
}

#[test]
fn a_task_that_is_put_off_counts_as_queued_and_runs_at_its_time() {
    let mut c = World::with_workers(1);
    let task = c.put_off(Duration::from_mins(1));
    c.expect_running(1, &[]);
    assert_eq!((c.waits_for(task), c.cluster.counts().queued), (WaitReason::NotBefore, 1));
    assert!(c.summary(task).contains("not to run before"), "{}", c.summary(task));
    c.change_leader();
    c.observe();
    c.join_all();
    c.pass_alive(Duration::from_millis(59_900));
    assert_eq!(c.waits_for(task), WaitReason::NotBefore);
    c.pass_alive(Duration::from_millis(100));
    c.expect_running(1, &[task]);
}

#[test]
fn a_time_that_is_over_is_now() {
    let mut c = World::with_workers(1);
    let past = clb_protocol::Timestamp(0);
    let task = c.submit_like(1, 3, |task| task.not_before = Some(past))[0];
    c.save();
    c.expect_running(1, &[task]);
}

#[test]
fn a_task_that_is_put_off_can_be_cancelled_and_leaves_no_deadline() {
    let mut c = World::with_workers(1);
    let task = c.put_off(Duration::from_hours(24));
    assert_eq!(c.cancel(vec![task], Cancellable::Waiting).cancelled, [CancelReceipt::Cancelled]);
    c.expect_ending(task, Some("cancelled"));
    assert!(c.cluster.next_deadline(c.now).is_none_or(|due| due < c.now + Duration::from_hours(1)));
}

#[test]
fn a_task_that_is_put_off_waits_since_its_time_and_not_since_its_submission() {
    let mut c = World::with_workers(1);
    c.submitted(2);
    let late = c.put_off(Duration::from_secs(90));
    let early = c.submitted(1)[0];
    c.pass_alive(Duration::from_secs(100));
    assert_eq!(c.order_of_starts(2), [early, late]);
}

#[test]
fn higher_priorities_go_first_and_equals_in_their_order() {
    let mut c = World::with_workers(1);
    c.submitted(2);
    let tasks: Vec<TaskId> = [0, -5, 0, 9, 9, -5].into_iter().map(|p| c.with_priority(p)).collect();
    assert_eq!(c.order_of_starts(6), [3, 4, 0, 2, 1, 5].map(|place: usize| tasks[place]));
}

#[test]
fn a_minute_of_waiting_counts_as_one_point() {
    let mut c = World::with_workers(1);
    c.submitted(2);
    let old = c.with_priority(0);
    c.pass_alive(Duration::from_secs(59));
    let above = c.with_priority(1);
    c.pass_alive(Duration::from_secs(2));
    let below = c.with_priority(1);
    assert_eq!(c.order_of_starts(3), [above, old, below]);
}

#[test]
fn the_lowest_priority_does_not_starve_under_an_endless_stream_of_the_highest() {
    let mut c = World::with_workers(1);
    c.submitted(2);
    let lowest = c.with_priority(-100);
    let worker = c.worker(1).unwrap();
    for minute in 0..=202 {
        c.with_priority(100);
        c.finish(&worker, &succeeded());
        c.pass_alive(Duration::from_mins(1));
        if c.rows[&lowest].attempts.contains_key(&AttemptNo(1)) {
            assert!(minute >= 198, "it went before its time: after {minute} minutes");
            return;
        }
    }
    panic!("it starves");
}

#[test]
fn a_new_leader_keeps_the_order() {
    let mut c = World::with_workers(1);
    c.submitted(2);
    let old = c.with_priority(0);
    c.pass_alive(Duration::from_secs(61));
    let tasks = [c.with_priority(1), c.with_priority(2)];
    c.change_leader();
    c.observe();
    c.join_all();
    assert_eq!(c.order_of_starts(3), [tasks[1], old, tasks[0]]);
}

#[test]
fn many_are_cancelled_at_once_whether_they_wait_or_run() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(5);
    let unsaved = c.submit(1)[0];
    let mut ids = tasks.clone();
    ids.push(unsaved);
    let (gone, not_open) = (CancelReceipt::Cancelled, CancelReceipt::NotOpen);
    assert_eq!(c.cancel(ids.clone(), Cancellable::Open).cancelled, [gone, gone, gone, gone, gone, not_open]);
    for task in &tasks {
        c.expect_ending(*task, Some("cancelled"));
    }
    assert_eq!(c.cancel(ids, Cancellable::Open).cancelled, [not_open; 6]);
    c.expect_ending(unsaved, None);
}

#[test]
fn those_that_stand_elsewhere_are_spared() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    let (gone, spared) = (CancelReceipt::Cancelled, CancelReceipt::Spared);
    assert_eq!(c.cancel(tasks.clone(), Cancellable::Waiting).cancelled, [spared, spared, gone]);
    let more = c.submitted(1);
    assert_eq!(c.cancel(vec![tasks[0], more[0]], Cancellable::Running).cancelled, [gone, spared]);
    c.expect_ending(tasks[1], None);
}

#[test]
fn what_waits_for_a_slot_is_told_how_many_go_first() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(6);
    let explanation = c.cluster.explain(tasks[5], c.now).unwrap();
    let waiting = explanation.waiting.unwrap();
    assert_eq!((waiting.reason, waiting.ahead), (WaitReason::NoFreeSlot, 1));
    assert_eq!(
        explanation.summary,
        "Waits for a free slot: all 2 workers of pool default are full (2 of 2 each); 1 task goes first."
    );
    assert_eq!(explanation.placement, None);
    let free: Vec<u16> = explanation.candidates.iter().map(|worker| worker.free_slots).collect();
    assert_eq!(free, [0, 0]);
    assert_eq!(explanation.candidates[0].reason, "all its 2 slots are taken");
}

#[test]
fn what_runs_is_told_why_there() {
    let mut c = World::with_workers(2);
    let tasks = c.submitted(2);
    c.pass(Duration::from_secs(1));
    let explanation = c.cluster.explain(tasks[1], c.now).unwrap();
    assert_eq!((explanation.state, explanation.waiting), (TaskState::Running, None));
    let placement = explanation.placement.unwrap();
    assert_eq!((placement.worker.as_str(), placement.attempt), ("worker-2", AttemptNo(1)));
    assert_eq!(
        explanation.summary,
        "Runs on worker-2 for 1.0 s as attempt 1, because worker-2 had the smallest load of 2 workers with a free \
         slot."
    );
    let scores: Vec<_> = explanation.candidates.iter().map(|it| (it.worker.as_str(), it.score)).collect();
    assert_eq!(scores, [("worker-2", Some(0)), ("worker-1", Some(10))]);
    assert_eq!(explanation.candidates[1].reason, "had a larger score");
}

#[test]
fn the_placement_of_a_task_that_ended_is_remembered_for_a_while() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    c.finish(&worker, &succeeded());
    assert_eq!(c.cluster.explain(task, c.now), None);
    let (placement, candidates) = c.cluster.placement(task).unwrap();
    assert_eq!((placement.worker.as_str(), candidates.len()), ("worker-1", 1));
    assert_eq!(candidates[0].reason, "was the only one with a free slot");
}

#[test]
fn a_former_leaders_choice_is_not_known() {
    let mut c = World::with_workers(1);
    let task = c.submitted(1)[0];
    c.change_leader();
    c.observe();
    c.join_all();
    let explanation = c.cluster.explain(task, c.now).unwrap();
    assert_eq!((explanation.state, explanation.placement), (TaskState::Running, None));
    assert!(explanation.summary.contains("former leader"), "{}", explanation.summary);
}

#[test]
fn what_holds_a_task_up_is_named() {
    let mut c = World::empty(1);
    let task = c.submitted(1)[0];
    assert_eq!(c.waits_for(task), WaitReason::Settling);
    c.observe();
    assert_eq!(c.waits_for(task), WaitReason::NoWorker);
    assert!(c.summary(task).contains("worker-1 is starting"), "{}", c.summary(task));
    c.tell(Input::StoreAvailable(false));
    assert_eq!(c.waits_for(task), WaitReason::StoreUnavailable);
    c.tell(Input::StoreAvailable(true));
    c.act();
    c.join_all();
    c.expect_running(1, &[task]);
}

#[test]
fn the_verdict_that_a_last_attempt_waits_for_is_named() {
    let mut c = World::with_workers(1);
    let task = c.submit_with(1, 1)[0];
    c.save();
    let worker = c.worker(1).unwrap();
    c.kill(&worker);
    assert!(c.summary(task).contains("verdict on its last attempt"), "{}", c.summary(task));
}

#[test]
fn a_task_that_is_not_on_disk_yet_is_not_explained() {
    let mut c = World::with_workers(1);
    let task = c.submit(1)[0];
    assert_eq!(c.cluster.explain(task, c.now), None);
    c.save();
    assert!(c.cluster.explain(task, c.now).is_some());
}

impl World {
    /// The worker that runs it dies, and another one comes.
    fn lose_worker_of(&mut self, task: TaskId) {
        let worker = self.cluster.running_attempt(task).expect("it runs").worker.clone();
        self.kill(&worker);
        self.tell(Input::ContainerDied(worker));
        self.act();
        self.join_all();
    }
}

#[test]
fn where_only_losses_are_repeated_a_failure_ends_the_task_and_a_loss_does_not() {
    for (gave, code) in [(NO(), "failed"), (Yield::TimedOut(None), "timed_out")] {
        let mut c = World::with_workers(2);
        let task = c.retrying(Some(Retry { on: RetryOn::Loss, ..Retry::default() }));
        c.lose_worker_of(task);
        let worker = c.cluster.running_attempt(task).expect("it was repeated").worker.clone();
        let out = c.finish(&worker, &gave).unwrap();
        let failed = out.changes.iter().find_map(|change| match change {
            Change::TaskEnded { ending: Ending::Failed(error, _), .. } => Some(error),
            _ => None,
        });
        let error = failed.expect("one attempt of three is left, but not for a failure");
        assert!(error.message.starts_with("Only lost attempts are retried"), "{error:?}");
        assert_eq!(error.code, code);
    }
}

#[test]
fn where_only_losses_are_repeated_there_are_no_more_of_them_than_attempts() {
    let mut c = World::with_workers(3);
    let task = c.retrying(Some(Retry { on: RetryOn::Loss, delay: Some(0.0), ..Retry::default() }));
    for _ in 0..3 {
        assert!(c.cluster.is_open(task));
        c.lose_worker_of(task);
    }
    assert!(!c.cluster.is_open(task));
}
