//! Pools, one sentence each: put, paused, scaled, moved, removed.

use std::time::Duration;

use clb_protocol::api::{PoolSource, PoolState, PoolView, WaitReason, WorkerState};
use clb_protocol::pool::PoolSpec;
use clb_protocol::{SlotNo, TaskId, WorkerId};

use super::world::{World, succeeded};
use crate::fleet::Standing;
use crate::input::Input;
use crate::output::{FleetAction, Output, PoolReceipt, Receipt};

pub(super) fn spec(workers: u16) -> PoolSpec {
    PoolSpec { workers, image: Some("tools".into()), ..PoolSpec::default() }
}

/// As the environment has it, with other containers.
pub(super) fn other_default(workers: u16) -> PoolSpec {
    PoolSpec { workers, first_port: Some(3_004), cpus: 0.5, ..PoolSpec::default() }
}

impl World {
    pub(super) fn put(&mut self, name: &str, spec: PoolSpec) -> Option<PoolReceipt> {
        self.tell(Input::PoolPut { name: name.into(), spec: Box::new(spec) }).pool
    }

    pub(super) fn order(&mut self, name: &str, standing: Standing) -> Output {
        self.tell(Input::WorkerOrdered { name: name.into(), standing })
    }

    pub(super) fn pool(&self, name: &str) -> PoolView {
        self.cluster.pool(&name.into()).expect("that pool")
    }

    /// Whatever is asked of the engine is done and whoever was made joins, until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            self.act();
            self.join_all();
            if self.actions.is_empty() {
                return;
            }
        }
        panic!("there is always more to do: {:?}", self.actions);
    }

    pub(super) fn submit_to(&mut self, pool: &str) -> (TaskId, Receipt) {
        let mut task = self.new_task(3);
        task.pool = pool.into();
        let id = task.id;
        let receipt = self.tell(Input::Submitted(vec![task.into()])).receipts[0].1;
        self.save();
        (id, receipt)
    }

    pub(super) fn workers_of(&self, pool: &str) -> Vec<(u16, WorkerState)> {
        let own = self.cluster.workers().filter(|worker| worker.pool.as_str() == pool);
        own.map(|worker| (worker.slot.0, worker.state)).collect()
    }

    pub(super) fn holds(&self, worker: &WorkerId) -> usize {
        self.containers.get(worker).map_or(0, |(_, process)| process.running.len())
    }
}

pub(super) const READY: WorkerState = WorkerState::Ready;

#[test]
fn a_new_pool_gets_its_image_then_its_workers_then_its_tasks() {
    let mut c = World::with_workers(1);
    assert_eq!(c.submit_to("tools").1, Receipt::NoSuchPool);
    assert_eq!(c.put("tools", spec(2)), Some(PoolReceipt::Created));
    assert_eq!(c.pool("tools").state, PoolState::Preparing);
    let (task, receipt) = c.submit_to("tools");
    assert_eq!((receipt, c.pool("tools").tasks.queued), (Receipt::Accepted, 1));
    c.settle();
    let pool = c.pool("tools");
    assert_eq!((pool.state, pool.source, pool.workers.ready), (PoolState::Ready, PoolSource::Api, 2));
    let worker = c.worker_in("tools", 1).unwrap();
    assert!(c.containers[&worker].1.running.contains_key(&task));
    assert_eq!(c.pool("tools").tasks.running, 1);
}

#[test]
fn an_image_that_cannot_be_had_holds_up_only_its_pool_and_is_looked_for_again() {
    let mut c = World::with_workers(1);
    c.missing_images.insert("tools".into());
    c.put("tools", spec(1));
    c.act();
    let pool = c.pool("tools");
    assert_eq!((pool.state, pool.reason.as_deref()), (PoolState::Failed, Some("tools is not there")));
    assert_eq!(c.pool("default").state, PoolState::Ready);
    c.missing_images.clear();
    c.pass(Duration::from_secs(1));
    c.settle();
    assert_eq!(c.pool("tools").state, PoolState::Ready);
}

#[test]
fn a_change_of_a_pool_looks_for_its_image_at_once() {
    let mut c = World::with_workers(0);
    c.missing_images.insert("tools".into());
    c.put("tools", spec(1));
    c.act();
    c.missing_images.clear();
    assert_eq!(c.put("tools", spec(1)), Some(PoolReceipt::Changed));
    c.settle();
    assert_eq!(c.pool("tools").state, PoolState::Ready);
}

#[test]
fn a_paused_pool_finishes_what_runs_takes_submissions_and_hands_out_nothing() {
    let mut c = World::with_workers(1);
    let first = c.submit_to("default").0;
    c.tell(Input::PoolPaused { name: "default".into(), is_paused: true });
    let (second, receipt) = c.submit_to("default");
    assert_eq!(receipt, Receipt::Accepted);
    let worker = c.worker(1).unwrap();
    assert_eq!(c.holds(&worker), 1);
    c.finish(&worker, &succeeded());
    assert_eq!(c.rows[&first].ending, Some("succeeded"));
    c.change_leader();
    c.observe();
    c.settle();
    assert!(c.pool("default").is_paused);
    assert_eq!(c.holds(&worker), 0);
    c.tell(Input::PoolPaused { name: "default".into(), is_paused: false });
    assert!(c.containers[&worker].1.running.contains_key(&second));
}

#[test]
fn more_workers_come_at_once_and_the_old_ones_stay() {
    let mut c = World::with_workers(1);
    let before = c.worker(1);
    c.put("default", PoolSpec { workers: 3, first_port: Some(3_004), ..PoolSpec::default() });
    c.settle();
    assert_eq!(c.workers_of("default"), [(1, READY), (2, READY), (3, READY)]);
    assert_eq!(c.worker(1), before);
}

#[test]
fn with_fewer_workers_the_highest_finish_what_they_have_and_go() {
    let mut c = World::with_workers(3);
    let tasks = [(); 6].map(|()| c.submit_to("default").0);
    c.put("default", PoolSpec { workers: 1, first_port: Some(3_004), ..PoolSpec::default() });
    c.settle();
    assert_eq!(c.workers_of("default"), [(1, READY), (2, WorkerState::Draining), (3, WorkerState::Draining)]);
    for slot in [2, 3] {
        let worker = c.worker(slot).unwrap();
        for _ in 0..2 {
            c.finish(&worker, &succeeded());
        }
    }
    c.settle();
    assert_eq!(c.workers_of("default"), [(1, READY)]);
    assert_eq!(tasks.iter().filter(|task| c.rows[task].ending.is_some()).count(), 4);
    assert!(tasks.iter().all(|task| c.rows[task].attempts.len() == 1), "a task was run again");
}

/// Where each worker of the default pool is, inside and on the host, as callers are told.
fn places(c: &World) -> Vec<(u16, Option<u16>)> {
    let inner = |address: Option<String>| address.unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    c.cluster.workers().map(|worker| (inner(worker.address), worker.port)).collect()
}

#[test]
fn a_worker_is_told_where_it_is_until_it_is_replaced_whoever_leads() {
    let moved = PoolSpec { workers: 2, first_port: Some(4_004), ..PoolSpec::default() };
    let old = [(3_004, Some(3_004)), (3_005, Some(3_005))];
    let mut c = World::with_workers(2);
    c.put("default", moved);
    c.change_leader();
    c.observe();
    let probed: Vec<u16> = c
        .actions
        .iter()
        .filter_map(|action| match action {
            FleetAction::Probe { port, .. } => Some(*port),
            _ => None,
        })
        .collect();
    assert_eq!((probed, &places(&c)[..2]), (vec![3_004, 3_005], &old[..]));
    c.change_leader();
    c.join_all();
    assert_eq!(&places(&c)[..2], old);
    c.observe();
    assert_eq!(&places(&c)[..2], old);
    c.settle();
    c.observe();
    assert_eq!(places(&c), [(4_004, Some(4_004)), (4_005, Some(4_005))]);
}

#[test]
fn without_its_override_a_pool_is_as_its_operator_defines_it() {
    let mut c = World::with_workers(1);
    let remove = |c: &mut World| c.tell(Input::PoolRemoved("default".into())).pool;
    assert_eq!(remove(&mut c), Some(PoolReceipt::AsDefined));
    c.put("default", other_default(2));
    c.settle();
    assert_eq!(remove(&mut c), Some(PoolReceipt::Removed));
    c.settle();
    let pool = c.pool("default");
    assert_eq!((pool.source, pool.workers.wanted, pool.spec.cpus), (PoolSource::Environment, 1, 1.0));
    assert_eq!(c.workers_of("default"), [(1, READY)]);
}

#[test]
fn a_pool_of_a_caller_can_be_removed_when_no_task_needs_it() {
    let mut c = World::with_workers(0);
    let remove = |c: &mut World| c.tell(Input::PoolRemoved("tools".into())).pool;
    assert_eq!(remove(&mut c), Some(PoolReceipt::Unknown));
    c.put("tools", spec(1));
    c.settle();
    c.submit_to("tools");
    assert_eq!(remove(&mut c), Some(PoolReceipt::HasTasks));
    let worker = c.worker_in("tools", 1).unwrap();
    c.finish(&worker, &succeeded());
    assert_eq!(remove(&mut c), Some(PoolReceipt::Removed));
    assert_eq!(c.pool("tools").state, PoolState::Removing);
    assert_eq!(c.submit_to("tools").1, Receipt::NoSuchPool);
    c.settle();
    assert!(c.containers.is_empty() && c.cluster.pool(&"tools".into()).is_none());
    c.change_leader();
    assert!(c.cluster.pool(&"tools".into()).is_none());
}

#[test]
fn a_pool_may_move_to_ports_of_which_its_workers_still_have_some() {
    for first_port in [3_003, 3_005, 3_006, 3_009] {
        for dies in [None, Some(1), Some(2), Some(3)] {
            let mut c = World::with_workers(3);
            c.submit(6);
            c.save();
            c.put("default", PoolSpec { workers: 3, first_port: Some(first_port), ..PoolSpec::default() });
            if let Some(worker) = dies.and_then(|slot| c.worker(slot)) {
                c.kill(&worker);
                c.tell(Input::ContainerDied(worker));
            }
            for _ in 0..60 {
                c.settle();
                let waits_for_a_port = c.cluster.workers().any(|w| w.state == WorkerState::BackingOff);
                assert!(dies.is_some() || !waits_for_a_port, "one went whose port was not free");
                for worker in c.containers.keys().cloned().collect::<Vec<_>>() {
                    c.finish(&worker, &succeeded());
                }
                c.pass(Duration::from_secs(1));
            }
            let ports: Vec<Option<u16>> = c.cluster.workers().map(|worker| worker.port).collect();
            let wanted = [first_port, first_port + 1, first_port + 2].map(Some);
            assert_eq!((ports, c.pool("default").state), (wanted.to_vec(), PoolState::Ready), "{dies:?}");
            assert!(c.rows.values().all(|row| row.ending == Some("succeeded")));
        }
    }
}

#[test]
fn two_pools_cannot_have_the_same_ports() {
    let mut c = World::with_workers(2);
    let ports = |first_port| PoolSpec { first_port: Some(first_port), ..spec(2) };
    assert!(matches!(c.put("tools", ports(3_005)), Some(PoolReceipt::PortsTaken(_))));
    assert_eq!(c.put("tools", ports(3_006)), Some(PoolReceipt::Created));
    assert_eq!(c.put("tools", ports(3_007)), Some(PoolReceipt::Changed));
}

#[test]
fn a_task_that_waits_for_its_pool_says_what_is_with_the_pool() {
    let mut c = World::with_workers(1);
    let why = |c: &World, task| c.cluster.explain(task, c.now).expect("an open task");
    c.put("tools", spec(1));
    let (task, _) = c.submit_to("tools");
    let explained = why(&c, task);
    assert!(explained.summary.contains("the image tools is being looked up"), "{}", explained.summary);
    assert_eq!(c.pool("tools").reason.map(|reason| reason.contains("pulled")), Some(true));
    let version = c.cluster.pools.get(&"tools".into()).map(|pool| pool.version(SlotNo(1)));
    c.tell(Input::ImageFailed {
        pool: "tools".into(),
        version: version.unwrap(),
        reason: "there is no image tools".into(),
    });
    let explained = why(&c, task);
    assert!(explained.summary.contains("there is no image tools"), "{}", explained.summary);
    let waiting = explained.waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::PoolFailed);
    assert!(waiting.until.is_some_and(|until| until > c.now.at));
    c.missing_images.clear();
    c.broken = Some(spec(1).cpus);
    c.pass(Duration::from_secs(2));
    c.act();
    let waiting = why(&c, task).waiting.unwrap();
    assert!(waiting.until.is_some_and(|until| until > c.now.at), "it backs off: {waiting:?}");
    c.tell(Input::PoolPaused { name: "tools".into(), is_paused: true });
    assert_eq!(why(&c, task).waiting.unwrap().reason, WaitReason::PoolPaused);
}
