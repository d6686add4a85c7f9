//! The engine is away, comes back without its containers, or is slow: tasks do not wait for it.

use std::time::Duration;

use clb_protocol::api::{VerdictKind, WorkerState};
use clb_tests::cluster::expect::container_of;
use clb_tests::engine::{Gate, kill_together, stop_together};
use clb_tests::{SOON, Setup, eventually, sleep};

#[tokio::test]
async fn while_the_engine_is_away_tasks_run_and_the_dead_are_replaced_when_it_is_back() {
    let gate = Gate::open();
    let cluster = Setup::new().gate(&gate).start().await;
    let task = cluster.submit(sleep(2.0)).await;
    let dead = cluster.worker_of(task).await;
    gate.go_away();
    container_of(&dead).kill().await;
    let ended = cluster.ends_once(task).await;
    assert_eq!(ended.attempts.len(), 2, "{ended:?}");
    assert_ne!(cluster.worker(&dead.name).await.state, WorkerState::Ready);
    let said = cluster.leader().await.logs().await;
    assert!(said.contains("the Docker engine is out of reach"), "{said}");
    gate.come_back();
    cluster.replacement_of(&dead).await;
    let obituary = cluster.obituary_of(&dead).await;
    assert_eq!(obituary.verdict.kind, VerdictKind::Killed, "{obituary:?}");
    eventually("the leader says that the engine is back", SOON, async || {
        let said = cluster.leader().await.logs().await;
        if said.contains("the Docker engine answers again") { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_comes_back_without_its_containers_gets_all_of_them_again() {
    let gate = Gate::open();
    let cluster = Setup::new().gate(&gate).start().await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(cluster.submit(sleep(2.0)).await);
    }
    cluster.worker_of(tasks[0]).await;
    gate.go_away();
    let dead = cluster.workers().await;
    kill_together(&cluster.worker_containers().await).await;
    gate.come_back();
    for worker in &dead {
        cluster.replacement_of(worker).await;
    }
    cluster.all_end_once(&tasks).await;
}

#[tokio::test]
async fn orchestrators_that_an_engine_takes_along_when_it_ends_leave_the_workers_to_the_next() {
    let gate = Gate::open();
    let cluster = Setup::new().gate(&gate).start().await;
    let task = cluster.submit(sleep(5.0)).await;
    let worker = cluster.worker_of(task).await;
    gate.go_away();
    stop_together(&cluster.orchestrators()).await;
    let mut said = String::new();
    for orchestrator in cluster.orchestrators() {
        said += &orchestrator.logs().await;
    }
    assert!(said.contains("The last orchestrator leaves, the workers stay"), "{said}");
    gate.come_back();
    for orchestrator in cluster.orchestrators() {
        orchestrator.start().await;
    }
    let ended = cluster.ends_once(task).await;
    assert_eq!(ended.attempts.len(), 1, "{ended:?}");
    assert_eq!(cluster.worker(&worker.name).await.generation, worker.generation);
}

#[tokio::test]
async fn a_slow_engine_holds_up_no_task() {
    let gate = Gate::open();
    let cluster = Setup::new().gate(&gate).start().await;
    let task = cluster.submit(sleep(2.0)).await;
    let dead = cluster.worker_of(task).await;
    gate.delay(Duration::from_secs(3));
    container_of(&dead).kill().await;
    cluster.ends_once(task).await;
    cluster.ends_once(cluster.submit(sleep(0.0)).await).await;
    cluster.replacement_of(&dead).await;
}
