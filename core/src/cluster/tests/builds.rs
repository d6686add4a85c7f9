//! Another bundled image or program of the workers, one sentence each.

use std::collections::BTreeSet;
use std::time::Duration;

use clb_protocol::WorkerId;
use clb_protocol::api::PoolState;
use clb_protocol::pool::PoolSpec;

use super::world::{World, succeeded};
use crate::build::{Build, Builds};
use crate::input::Input;
use crate::output::Output;

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
fn a_leader_replaces_workers_for_another_image_that_it_finds_within_its_term_however_often() {
    let mut c = world();
    for _ in 0..3 {
        let old = workers(&c);
        c.build += 1;
        c.build_told = Some(c.build);
        for _ in 0..2 {
            c.observe();
            c.settle();
        }
        let new = workers(&c);
        assert_eq!(new.len(), old.len());
        assert!(new.iter().all(|worker| !old.contains(worker)), "{new:?}");
        c.observe();
    }
}

#[test]
fn an_orchestrator_that_does_not_run_holds_an_upgrade_up_for_a_while_only() {
    let mut c = world();
    // Twice, for what this leader made is known once it was compared.
    c.observe();
    c.observe();
    let old = workers(&c);
    let kind = |number: u32| Build(number.to_string().as_str().into());
    let tell = |c: &mut World| {
        let builds = Builds { bundled: Some(kind(7)), program: Some(kind(7)) };
        let orchestrators = BTreeSet::from([kind(7)]);
        c.tell(Input::BuildsSeen { builds, orchestrators, stopped: BTreeSet::from([kind(1)]) })
    };
    let says_so =
        |out: &Output| out.notes.iter().any(|note| format!("{note:?}").contains("remove its container"));
    tell(&mut c);
    for _ in 0..59 {
        for worker in &old {
            c.report(worker);
        }
        c.pass(Duration::from_secs(1));
        assert!(!says_so(&tell(&mut c)));
    }
    assert_eq!((workers(&c), c.cluster.pool(&"default".into()).unwrap().state), (old, PoolState::Ready));
    c.pass(Duration::from_secs(1));
    assert!(says_so(&tell(&mut c)));
    assert_eq!(c.cluster.pool(&"default".into()).unwrap().state, PoolState::Updating);
    assert!(!says_so(&tell(&mut c)), "it is said once");
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
