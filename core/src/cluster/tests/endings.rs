//! How attempts end that the worker or the leader has to end.

use std::time::Duration;

use clb_protocol::api::WorkerState;
use clb_protocol::link::{Cause, Yield};

use super::world::{STOP_GRACE, World};
use crate::input::Input;
use crate::output::{Change, Ending};

/// The timeout of the tasks here.
const TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(1);

#[test]
fn a_worker_may_take_the_grace_of_its_programs_to_say_that_one_outran_its_timeout() {
    let mut c = World::with_workers(1);
    let task = c.submit_like(1, 1, |task| task.spec.timeout = TIMEOUT.as_secs_f64())[0];
    c.save();
    let worker = c.worker(1).unwrap();
    let began = c.now;
    while c.now < began + TIMEOUT + STOP_GRACE {
        c.report(&worker);
        c.pass(STEP);
    }
    c.expect_running(1, &[task]);
    c.expect_ending(task, None);
    while c.rows[&task].ending.is_none() {
        c.report(&worker);
        c.pass(STEP);
        assert!(c.now < began + 2 * (TIMEOUT + STOP_GRACE), "the leader waits without end");
    }
    c.expect_ending(task, Some("failed"));
}

#[test]
fn a_program_that_cannot_be_started_is_tried_once() {
    let mut c = World::with_workers(2);
    let task = c.submitted(1)[0];
    let worker = c.worker(1).unwrap();
    let out = c.finish(&worker, &Yield::failed_of(Cause::CannotStart, "there is no program x")).unwrap();
    let [Change::TaskEnded { ending: Ending::Failed(error, None), .. }] = &out.changes[..] else {
        panic!("{:?}", out.changes)
    };
    assert_eq!(error.code, "failed");
    assert_eq!(error.message, "Another attempt would fail the same way: there is no program x");
    c.expect_ending(task, Some("failed"));
}

#[test]
fn workers_that_are_killed_by_hand_are_replaced_at_once_however_often() {
    let mut c = World::with_workers(1);
    for _ in 0..20 {
        let worker = c.worker(1).unwrap();
        c.tell(Input::ContainerSignalled { worker: worker.clone(), signal: 9 });
        c.kill(&worker);
        c.tell(Input::ContainerDied(worker.clone()));
        c.act();
        assert_ne!(c.worker(1), Some(worker), "it waits");
        c.join_all();
        c.expect_state(1, WorkerState::Ready);
    }
}

#[test]
fn a_worker_that_crashes_again_and_again_waits_though_somebody_killed_it_in_between() {
    let mut c = World::with_workers(1);
    for is_by_hand in [false, false, true, false, false] {
        let worker = c.worker(1).unwrap();
        if is_by_hand {
            c.tell(Input::ContainerSignalled { worker: worker.clone(), signal: 9 });
        }
        c.kill(&worker);
        c.tell(Input::ContainerDied(worker));
        c.act();
        c.join_all();
    }
    c.expect_state(1, WorkerState::BackingOff);
}
