//! The clock on the wall is set, and nothing that is measured takes notice.

use std::time::Duration;

use clb_protocol::TaskId;
use clb_protocol::api::WorkerState;
use clb_protocol::link::Yield;

use super::world::World;
use crate::output::Change;

const HOURS: i64 = 2 * 3_600;

impl World {
    fn running_one(&mut self) -> TaskId {
        let task = self.submit(1)[0];
        self.save();
        self.expect_running(1, &[task]);
        task
    }
}

#[test]
fn a_clock_that_is_set_ends_no_task_and_gives_no_worker_up() {
    for seconds in [HOURS, -HOURS] {
        let mut c = World::with_workers(2);
        c.act();
        let task = c.running_one();
        c.set_clock(seconds);
        c.pass(Duration::from_millis(1_100));
        c.expect_running(1, &[task]);
        c.expect_state(2, WorkerState::Ready);
        assert!(c.actions.is_empty() && !c.cluster.is_unheard(c.now));
    }
}

#[test]
fn a_hung_worker_is_given_up_as_soon_though_the_clock_is_set_back() {
    let mut c = World::with_workers(1);
    c.set_clock(-HOURS);
    let due = c.cluster.next_deadline(c.now).unwrap();
    assert!(due.since(c.now) <= c.config.silence_limit);
    c.pass(c.config.silence_limit);
    c.expect_state(1, WorkerState::Lost);
}

#[test]
fn a_timeout_is_as_long_as_it_was_meant_whatever_the_clock_says() {
    let mut c = World::with_workers(1);
    let task = c.running_one();
    let worker = c.worker(1).unwrap();
    c.set_clock(-HOURS);
    let mut passed = Duration::ZERO;
    while c.rows[&task].attempts.values().all(|attempt| !attempt.has_ended) {
        c.report(&worker);
        c.pass(Duration::from_secs(1));
        passed += Duration::from_secs(1);
        assert!(passed <= Duration::from_hours(2), "it never ends");
    }
    assert!(passed >= Duration::from_hours(1), "{passed:?}");
}

#[test]
fn a_task_that_was_put_off_becomes_due_when_the_clock_says_so() {
    let mut c = World::with_workers(1);
    let until = c.now.at + Duration::from_hours(1);
    let task = c.submit_like(1, 3, |task| task.not_before = Some(until))[0];
    c.save();
    c.set_clock(-HOURS);
    assert!(c.cluster.next_deadline(c.now).unwrap() < c.now + Duration::from_hours(1));
    c.pass(Duration::from_secs(1));
    c.expect_running(1, &[]);
    c.set_clock(HOURS + 3_599);
    assert_eq!(c.cluster.next_deadline(c.now), Some(c.now));
    c.pass(Duration::ZERO);
    c.expect_running(1, &[task]);
}

#[test]
fn tasks_go_in_the_order_of_their_coming_though_the_clock_is_set_back() {
    let mut c = World::with_workers(0);
    let first = c.submit(1)[0];
    c.save();
    c.set_clock(-HOURS);
    let second = c.submit(1)[0];
    c.save();
    let ahead = |c: &World, task| c.cluster.explain(task, c.now).unwrap().waiting.unwrap().ahead;
    assert_eq!((ahead(&c, first), ahead(&c, second)), (0, 1));
    c.change_leader();
    c.save();
    assert_eq!((ahead(&c, first), ahead(&c, second)), (0, 1));
}

#[test]
fn a_new_leader_ends_no_attempt_for_what_the_clock_says_it_took() {
    let mut c = World::with_workers(1);
    let task = c.running_one();
    c.set_clock(HOURS);
    c.change_leader();
    c.observe();
    c.act();
    c.join_all();
    c.pass(Duration::from_millis(1_100));
    c.expect_running(1, &[task]);
    assert_eq!(c.rows[&task].attempts.len(), 1);
}

#[test]
fn a_new_leader_knows_from_the_worker_how_long_an_attempt_has_run() {
    let mut c = World::with_workers(1);
    let task = c.running_one();
    let worker = c.worker(1).unwrap();
    for _ in 0..3_500 {
        c.report(&worker);
        c.pass(Duration::from_secs(1));
    }
    c.set_clock(-HOURS);
    c.change_leader();
    c.observe();
    c.act();
    c.join_all();
    c.expect_running(1, &[task]);
    for _ in 0..200 {
        c.report(&worker);
        c.pass(Duration::from_secs(1));
    }
    assert!(c.rows[&task].attempts.values().next().unwrap().has_ended, "it has had its hour");
}

#[test]
fn a_rest_that_a_new_leader_goes_on_with_is_never_longer_than_it_was() {
    let mut c = World::with_workers(1);
    c.running_one();
    let worker = c.worker(1).unwrap();
    for _ in 0..2 {
        c.finish(&worker, &Yield::failed("no"));
    }
    c.set_clock(-HOURS);
    c.change_leader();
    c.observe();
    c.act();
    c.join_all();
    let started = |out: &crate::Output| {
        out.changes.iter().any(|change| matches!(change, Change::AttemptStarted { .. }))
    };
    let mut passed = Duration::ZERO;
    loop {
        c.now = c.now + Duration::from_millis(100);
        passed += Duration::from_millis(100);
        c.report(&worker);
        if started(&c.tell(crate::Input::TimePassed)) {
            break;
        }
        assert!(passed <= Duration::from_secs(2), "it rests for hours");
    }
}
