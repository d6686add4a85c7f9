//! Another bundled image or program of the workers, one sentence each.

use clb_protocol::WorkerId;
use clb_protocol::api::PoolState;
use clb_protocol::pool::PoolSpec;

use super::world::{World, succeeded};
use crate::input::Input;

/// Two workers of the bundled image and one of a foreign one.
fn world() -> World {
    let mut c = World::with_workers(2);
    let spec = PoolSpec { image: Some("tools".into()), ..PoolSpec::default() };
    c.tell(Input::PoolPut { name: "tools".into(), spec: Box::new(spec) });
    c.settle();
    c
}

fn workers(c: &World) -> Vec<WorkerId> {
    c.containers.keys().cloned().collect()
}

fn take_over(c: &mut World) {
    c.change_leader();
    c.join_all();
    c.observe();
    c.settle();
}

#[test]
fn the_next_leader_replaces_workers_of_a_former_build_and_no_task_runs_again() {
    let mut c = world();
    let old = workers(&c);
    let tasks = c.submit(4);
    c.save();
    c.build += 1;
    take_over(&mut c);
    assert!(old.iter().take(2).all(|worker| c.containers.contains_key(worker)), "they have tasks");
    for _ in 0..2 {
        for worker in &old {
            c.finish(worker, &succeeded());
        }
        c.settle();
    }
    for worker in &workers(&c) {
        c.finish(worker, &succeeded());
        c.finish(worker, &succeeded());
    }
    c.settle();
    assert_eq!(workers(&c).len(), 3);
    assert!(workers(&c).iter().all(|worker| !old.contains(worker)), "{:?}", workers(&c));
    for task in tasks {
        let row = &c.rows[&task];
        assert_eq!((row.ending, row.attempts.len()), (Some("succeeded"), 1));
    }
    let new = workers(&c);
    take_over(&mut c);
    c.observe();
    c.settle();
    assert_eq!(workers(&c), new, "they were replaced again");
}

#[test]
fn while_nobody_can_tell_what_containers_are_made_of_all_stay() {
    let mut c = world();
    let old = workers(&c);
    c.build += 1;
    c.change_leader();
    c.build_told = None;
    c.join_all();
    c.observe();
    c.settle();
    assert_eq!((workers(&c), c.cluster.pool(&"default".into()).unwrap().state), (old, PoolState::Ready));
}

#[test]
fn while_the_orchestrators_are_of_different_images_all_stay() {
    let mut c = world();
    let old = workers(&c);
    c.build += 1;
    c.kinds = 2;
    for _ in 0..2 {
        take_over(&mut c);
        assert_eq!(workers(&c), old);
    }
    c.kinds = 1;
    c.observe();
    c.settle();
    assert!(workers(&c).iter().all(|worker| !old.contains(worker)));
}

#[test]
fn what_this_leader_made_is_not_replaced_though_the_image_changed_since_it_looked() {
    let mut c = world();
    c.build += 1;
    let victim = c.worker(1).unwrap();
    c.kill(&victim);
    c.tell(Input::ContainerDied(victim));
    c.settle();
    let now = workers(&c);
    for _ in 0..3 {
        c.observe();
        c.settle();
    }
    assert_eq!(workers(&c), now);
}
