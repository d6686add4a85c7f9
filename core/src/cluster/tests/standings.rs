//! What somebody ordered for a worker, one sentence each: drained, restarted, serving again.

use clb_protocol::api::WorkerState;

use super::pools::READY;
use super::world::{World, succeeded};
use crate::fleet::Standing;

#[test]
fn a_drained_worker_takes_no_more_until_it_may_again_also_under_the_next_leader() {
    let mut c = World::with_workers(2);
    let first = c.submit_to("default").0;
    let worker = c.worker(1).unwrap();
    assert!(c.order("worker-1", Standing::Drain).ordered.is_some());
    for _ in 0..2 {
        c.submit_to("default");
    }
    assert_eq!(c.holds(&worker), 1);
    c.finish(&worker, &succeeded());
    assert_eq!(c.rows[&first].ending, Some("succeeded"));
    c.change_leader();
    c.observe();
    c.settle();
    assert_eq!(c.workers_of("default"), [(1, WorkerState::Draining), (2, READY)]);
    c.submit_to("default");
    assert_eq!(c.holds(&worker), 0);
    c.order("worker-1", Standing::Serve);
    assert_eq!((c.holds(&worker), c.worker(1)), (1, Some(worker)));
}

#[test]
fn a_restarted_worker_finishes_what_it_has_and_is_replaced() {
    let mut c = World::with_workers(1);
    let task = c.submit_to("default").0;
    let before = c.worker(1).unwrap();
    c.order("worker-1", Standing::Restart);
    c.change_leader();
    c.observe();
    c.settle();
    assert_eq!(c.worker(1), Some(before.clone()));
    c.finish(&before, &succeeded());
    assert_eq!(c.rows[&task].attempts.len(), 1);
    c.settle();
    assert_eq!(c.worker(1).unwrap().generation, before.generation.next());
    assert_eq!(c.workers_of("default"), [(1, READY)]);
    c.change_leader();
    c.observe();
    c.settle();
    assert_eq!(c.worker(1).unwrap().generation, before.generation.next());
}

#[test]
fn nobody_is_ordered_anything_under_a_name_that_no_worker_has() {
    let mut c = World::with_workers(1);
    assert!(c.order("worker-2", Standing::Drain).ordered.is_none());
}

#[test]
fn a_worker_that_was_let_go_is_no_crash() {
    let mut c = World::with_workers(1);
    let out = c.order("worker-1", Standing::Restart);
    assert!(!out.notes.contains(&crate::output::Note::WorkerCrashed));
    c.settle();
    assert_eq!(c.rows.len(), 0);
}
