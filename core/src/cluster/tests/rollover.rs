//! How a pool comes by workers of a new kind, one sentence each.

use std::time::Duration;

use clb_protocol::WorkerId;
use clb_protocol::api::PoolState;
use clb_protocol::pool::PoolSpec;

use super::pools::{READY, other_default};
use super::world::{World, succeeded};
use crate::input::Input;
use crate::output::{FleetAction, PoolReceipt};

/// Rolls a pool of three busy workers over; after every step at least three serve. `trouble` comes after
/// each of the first steps.
fn roll_over(mut trouble: impl FnMut(&mut World, usize)) -> World {
    let mut c = World::with_workers(3);
    let tasks = [(); 9].map(|()| c.submit_to("default").0);
    let old = [1, 2, 3].map(|slot| c.worker(slot).unwrap());
    c.put("default", other_default(3));
    for step in 0..60 {
        trouble(&mut c, step);
        c.act();
        c.join_all();
        let held: Vec<WorkerId> = c.containers.keys().cloned().collect();
        for worker in held {
            c.finish(&worker, &succeeded());
        }
        c.pass(Duration::from_millis(100));
        c.act();
        c.join_all();
    }
    assert!(tasks.iter().all(|task| c.rows[task].ending == Some("succeeded")));
    assert_eq!(c.workers_of("default"), [(1, READY), (2, READY), (3, READY)]);
    assert!(old.iter().all(|worker| !c.containers.contains_key(worker)), "an old one is left");
    assert_eq!(c.pool("default").state, PoolState::Ready);
    c
}

#[test]
fn a_changed_spec_rolls_over_without_a_loss_of_capacity() {
    let mut fewest = 3;
    let mut was_updating = false;
    let c = roll_over(|c, _| {
        let pool = c.pool("default");
        was_updating |= pool.state == PoolState::Updating;
        fewest = fewest.min(pool.workers.ready);
    });
    assert_eq!((fewest, was_updating), (3, true));
    assert!(c.rows.values().all(|row| row.attempts.len() == 1), "a task was run again");
}

#[test]
fn the_next_leader_goes_on_with_a_rollover() {
    roll_over(|c, step| {
        if [1, 3, 5].contains(&step) {
            c.change_leader();
            c.observe();
        }
    });
}

#[test]
fn workers_that_die_in_a_rollover_do_not_stop_it() {
    roll_over(|c, step| {
        if step % 2 == 1 && step < 10 {
            let victim = c.containers.keys().nth(step % 3).cloned();
            if let Some(victim) = victim {
                c.kill(&victim);
                c.tell(Input::ContainerDied(victim));
            }
        }
    });
}

#[test]
fn the_worker_that_comes_first_has_no_port_on_the_host() {
    let mut c = World::with_workers(2);
    c.put("default", other_default(2));
    let published: Vec<Option<u16>> = c
        .actions
        .iter()
        .filter_map(|action| match action {
            FleetAction::Create { published, .. } => Some(*published),
            _ => None,
        })
        .collect();
    assert_eq!(published, [None]);
}

#[test]
fn while_the_new_kind_does_not_come_up_the_old_ones_serve_and_the_pool_says_why() {
    let mut c = World::with_workers(2);
    let old = [1, 2].map(|slot| c.worker(slot).unwrap());
    c.broken = Some(0.5);
    c.put("default", other_default(2));
    for _ in 0..200 {
        c.act();
        for worker in &old {
            c.report(worker);
        }
        c.pass(Duration::from_millis(500));
    }
    let pool = c.pool("default");
    assert_eq!((pool.state, pool.workers.ready), (PoolState::Updating, 2));
    assert!(pool.reason.is_some());
    assert_eq!([1, 2].map(|slot| c.worker(slot).unwrap()), old);
    assert_eq!(c.put("default", PoolSpec { cpus: 1.0, ..other_default(2) }), Some(PoolReceipt::Changed));
    c.settle();
    assert_eq!(c.pool("default").state, PoolState::Ready);
    assert_eq!([1, 2].map(|slot| c.worker(slot).unwrap()), old);
}
