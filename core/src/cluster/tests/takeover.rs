//! What a leader does that is new, or was away, one sentence each.

use std::time::Duration;

use clb_protocol::api::{VerdictKind, WorkerState};

use super::world::{World, succeeded};
use crate::input::Input;

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
