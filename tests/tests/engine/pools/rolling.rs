//! Pools that change while their tasks run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use clb_protocol::TaskId;
use clb_protocol::api::{PoolState, WorkerState};
use clb_tests::cluster::expect::ran_once;
use clb_tests::{Cluster, Setup, sleep};
use serde_json::{Value, json};

/// The pool of the environment with another memory limit: other containers.
async fn changed(cluster: &Cluster, memory: &str) -> Value {
    let pool = cluster.try_pool("default").await.unwrap();
    let mut spec = serde_json::to_value(&pool.spec).unwrap();
    spec["memory"] = json!(memory);
    spec
}

async fn submit_many(cluster: &Cluster, count: usize, seconds: f64) -> Vec<TaskId> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(cluster.submit(sleep(seconds)).await);
    }
    tasks
}

#[tokio::test]
async fn a_changed_spec_rolls_over_and_keeps_its_capacity_and_its_tasks() {
    let cluster = Arc::new(Setup::new().workers(2).slots(2).start().await);
    let tasks = submit_many(&cluster, 24, 1.5).await;
    let (fewest, is_over) = (Arc::new(AtomicU16::new(2)), Arc::new(AtomicBool::new(false)));
    let watch = tokio::spawn({
        let (cluster, fewest, is_over) = (Arc::clone(&cluster), Arc::clone(&fewest), Arc::clone(&is_over));
        async move {
            while !is_over.load(Ordering::Relaxed) {
                if let Ok(pool) = cluster.try_pool("default").await {
                    fewest.fetch_min(pool.workers.ready, Ordering::Relaxed);
                }
            }
        }
    });
    let before = cluster.workers().await;
    let spec = changed(&cluster, "128m").await;
    assert_eq!(cluster.put_pool("default", &spec).await.status, 200);
    cluster.pool_is("updating", "default", |pool| pool.state == PoolState::Updating).await;
    cluster.pool_is("ready again", "default", |pool| pool.state == PoolState::Ready).await;
    is_over.store(true, Ordering::Relaxed);
    watch.await.unwrap();
    assert_eq!(fewest.load(Ordering::Relaxed), 2, "fewer workers than wanted served");
    let after = cluster.workers().await;
    let names = |workers: &[clb_protocol::api::WorkerView]| -> Vec<_> {
        workers.iter().map(|worker| (worker.name.clone(), worker.port)).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert!(after.iter().zip(&before).all(|(new, old)| new.generation > old.generation));
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    assert_eq!(cluster.delete_pool("default").await.status, 204);
    cluster
        .pool_is("as before", "default", |pool| {
            pool.state == PoolState::Ready && pool.spec.memory.0 == 256 << 20
        })
        .await;
}

#[tokio::test]
async fn the_next_leader_goes_on_with_a_rollover_and_loses_nothing() {
    let cluster = Setup::new().workers(2).slots(2).start().await;
    let tasks = submit_many(&cluster, 12, 2.0).await;
    let before = cluster.has_two_orchestrators().await;
    let spec = changed(&cluster, "128m").await;
    assert_eq!(cluster.put_pool("default", &spec).await.status, 200);
    cluster
        .workers_are("default", "three", |workers| {
            workers.iter().filter(|worker| worker.state == WorkerState::Ready).count() == 3
                || workers.len() == 3
        })
        .await;
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    let is_new = |worker: &clb_protocol::api::WorkerView| {
        worker.state == WorkerState::Ready && worker.memory_limit_bytes == Some(128 << 20)
    };
    cluster.workers_are("default", "new", |workers| workers.len() == 2 && workers.iter().all(is_new)).await;
    cluster.all_end_once(&tasks).await;
    cluster.pool_is("ready", "default", |pool| pool.state == PoolState::Ready).await;
}

#[tokio::test]
async fn a_worker_of_the_former_spec_is_where_it_was_whoever_leads() {
    let cluster = Setup::new().workers(1).slots(1).start().await;
    let before = cluster.has_two_orchestrators().await;
    let task = cluster.submit(sleep(10.0)).await;
    let worker = cluster.worker_of(task).await;
    let mut spec = changed(&cluster, "256m").await;
    spec["first_port"] = Value::Null;
    assert_eq!(cluster.put_pool("default", &spec).await.status, 200);
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    let is_there = |it: &clb_protocol::api::WorkerView| {
        (&it.container, &it.address, it.port) == (&worker.container, &worker.address, worker.port)
    };
    cluster.workers_are("default", "where they were", |workers| workers.iter().any(is_there)).await;
    ran_once(&cluster.ends_once(task).await);
    let is_new = |it: &clb_protocol::api::WorkerView| it.state == WorkerState::Ready && it.port.is_none();
    cluster.workers_are("default", "new", |workers| workers.len() == 1 && is_new(&workers[0])).await;
}

#[tokio::test]
async fn workers_come_and_go_with_their_number() {
    let cluster = Setup::new().workers(1).slots(1).start().await;
    let mut spec = changed(&cluster, "256m").await;
    spec["workers"] = json!(3);
    cluster.has_pool("default", &spec).await;
    let first = cluster.worker("worker-1").await;
    let tasks = submit_many(&cluster, 3, 3.0).await;
    for task in &tasks {
        cluster.worker_of(*task).await;
    }
    spec["workers"] = json!(1);
    assert_eq!(cluster.put_pool("default", &spec).await.status, 200);
    cluster.worker_is("worker-3", WorkerState::Draining).await;
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    let left = cluster.workers_are("default", "one", |workers| workers.len() == 1).await;
    assert_eq!(left[0].generation, first.generation);
    assert_eq!(cluster.worker_containers().await.len(), 1);
}

#[tokio::test]
async fn a_paused_pool_takes_tasks_and_hands_them_out_when_it_goes_on() {
    let cluster = Setup::new().workers(1).start().await;
    assert_eq!(cluster.command("/api/v1/pools/default/pause").await.status, 200);
    let task = cluster.submit(sleep(0.1)).await;
    let before = cluster.has_two_orchestrators().await;
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    cluster.is_whole().await;
    let pool = cluster.pool_is("paused", "default", |pool| pool.is_paused).await;
    assert_eq!((pool.tasks.queued, pool.tasks.running), (1, 0));
    assert_eq!(cluster.command("/api/v1/pools/default/resume").await.status, 200);
    ran_once(&cluster.ends_once(task).await);
}
