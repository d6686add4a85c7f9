//! What becomes of containers, one sentence each.

use std::time::Duration;

use clb_protocol::api::{VerdictKind, WorkerState};

use super::world::{World, container};
use crate::input::{Input, SeenWorker};

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
