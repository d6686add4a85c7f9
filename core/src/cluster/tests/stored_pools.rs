//! Stored pools under an operator who has thought otherwise, one sentence each; and what goes back to the
//! operator's definition.

use std::time::Duration;

use clb_protocol::api::{PoolSource, PoolState, WaitReason};
use clb_protocol::pool::PoolSpec;

use super::pools::{READY, spec};
use super::world::{World, succeeded};
use crate::config::Definition;
use crate::input::Input;
use crate::output::{PoolReceipt, Receipt};

#[test]
fn without_its_override_a_pool_does_not_get_ports_that_another_has_taken_meanwhile() {
    let mut c = World::with_workers(1);
    let at = |first_port| PoolSpec { first_port: Some(first_port), ..spec(1) };
    c.put("default", at(4_000));
    assert_eq!(c.put("tools", at(3_004)), Some(PoolReceipt::Created));
    let back = c.tell(Input::PoolRemoved("default".into())).pool;
    assert!(matches!(back, Some(PoolReceipt::PortsTaken(_))), "{back:?}");
    let pool = c.pool("default");
    assert_eq!((pool.source, pool.spec.first_port), (PoolSource::Api, Some(4_000)));
    c.put("tools", at(4_001));
    assert_eq!(c.tell(Input::PoolRemoved("default".into())).pool, Some(PoolReceipt::Removed));
}

#[test]
fn a_stored_pool_that_its_operator_refuses_has_no_workers_and_the_others_do_not_mind() {
    let mut c = World::with_workers(1);
    c.put("tools", spec(2));
    c.settle();
    let (task, _) = c.submit_to("tools");
    let worker = c.worker_in("tools", 1).unwrap();
    c.config.refused.insert("tools".into(), "mounts: not there".into());
    c.change_leader();
    let out = c.observe();
    assert!(
        out.notes.iter().any(|note| format!("{note:?}").contains("mounts: not there")),
        "{:?}",
        out.notes
    );
    c.settle();
    let pool = c.pool("tools");
    assert_eq!((pool.state, pool.reason.as_deref()), (PoolState::Failed, Some("mounts: not there")));
    for held in c.containers.keys().cloned().collect::<Vec<_>>() {
        c.finish(&held, &succeeded());
    }
    assert_eq!((c.rows[&task].ending, c.rows[&task].attempts.len()), (Some("succeeded"), 1));
    let (later, receipt) = c.submit_to("tools");
    assert_eq!(receipt, Receipt::Accepted);
    c.settle();
    assert!(!c.containers.contains_key(&worker));
    assert_eq!((c.workers_of("tools"), c.workers_of("default")), (vec![], vec![(1, READY)]));
    let why = c.cluster.explain(later, c.now).unwrap().waiting.unwrap();
    assert_eq!(why.reason, WaitReason::PoolFailed);
    assert!(why.detail.contains("mounts: not there"), "{}", why.detail);
    c.put("tools", spec(1));
    c.settle();
    assert_eq!((c.pool("tools").state, c.workers_of("tools")), (PoolState::Ready, vec![(1, READY)]));
}

#[test]
fn workers_of_what_the_operator_refuses_get_no_tasks_though_their_pool_is_mended() {
    let mut c = World::with_workers(1);
    c.put("tools", spec(2));
    c.settle();
    let (first, _) = c.submit_to("tools");
    c.config.refused.insert("tools".into(), "mounts: not there".into());
    c.change_leader();
    c.join_all();
    c.observe();
    c.settle();
    let old = c.worker_in("tools", 1).unwrap();
    c.config.refused.clear();
    c.missing_images.insert("late".to_owned());
    c.put("tools", PoolSpec { image: Some("late".into()), ..spec(2) });
    let (second, _) = c.submit_to("tools");
    c.settle();
    c.change_leader();
    c.join_all();
    c.observe();
    c.settle();
    c.finish(&old, &succeeded());
    c.settle();
    assert_eq!((c.rows[&first].ending, c.rows[&second].attempts.len()), (Some("succeeded"), 0));
    c.missing_images.clear();
    c.pass(Duration::from_mins(2));
    c.settle();
    assert!(!c.containers.contains_key(&old));
    assert_eq!((c.rows[&second].attempts.len(), c.workers_of("tools").len()), (1, 2));
}

#[test]
fn a_stored_pool_whose_ports_its_operator_has_given_to_another_fails_alone() {
    let mut c = World::with_workers(1);
    let at = |first_port| PoolSpec { first_port: Some(first_port), ..spec(1) };
    c.put("default", at(4_000));
    c.put("a", at(3_004));
    c.put("b", at(4_001));
    c.settle();
    let of_file = |name: &str, first_port| Definition {
        name: name.into(),
        spec: at(first_port),
        source: PoolSource::File,
    };
    c.config.pools.push(of_file("c", 4_001));
    c.change_leader();
    c.observe();
    c.settle();
    // The worker of b still had the port when c wanted it.
    c.pass(Duration::from_secs(5));
    c.settle();
    let states = ["a", "b", "c", "default"].map(|name| c.pool(name).state);
    assert_eq!(states, [PoolState::Ready, PoolState::Failed, PoolState::Ready, PoolState::Ready]);
    let reason = c.pool("b").reason.unwrap();
    assert!(reason.contains("pool c have ports 4001"), "{reason}");
    assert_eq!(c.put("c", PoolSpec { slots: 2, ..at(4_001) }), Some(PoolReceipt::Changed));
    assert_eq!(c.put("b", at(4_002)), Some(PoolReceipt::Changed));
    c.settle();
    assert_eq!((c.pool("b").state, c.workers_of("b")), (PoolState::Ready, vec![(1, READY)]));
}

#[test]
fn a_pool_without_workers_keeps_no_ports() {
    let mut c = World::with_workers(0);
    assert_eq!(c.put("a", PoolSpec { first_port: Some(3_004), ..spec(1) }), Some(PoolReceipt::Created));
    let grown = PoolSpec { workers: 1, first_port: Some(3_004), ..PoolSpec::default() };
    assert!(matches!(c.put("default", grown), Some(PoolReceipt::PortsTaken(_))));
}
