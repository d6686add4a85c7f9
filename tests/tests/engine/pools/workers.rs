//! What is ordered for one worker.

use clb_protocol::api::WorkerState;
use clb_tests::cluster::expect::ran_once;
use clb_tests::{Setup, sleep};

#[tokio::test]
async fn a_drained_worker_rests_until_it_may_work_again_whoever_leads() {
    let cluster = Setup::new().workers(2).start().await;
    let task = cluster.submit(sleep(3.0)).await;
    let worker = cluster.worker_of(task).await;
    let order = |order: &str| format!("/api/v1/workers/{}/{order}", worker.name);
    let answer = cluster.command(&order("drain")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json::<serde_json::Value>()["state"], "draining");
    let others = [cluster.submit(sleep(0.1)).await, cluster.submit(sleep(0.1)).await];
    for other in cluster.all_end_once(&others).await {
        assert_ne!(other.worker.as_deref(), Some(worker.name.as_str()));
    }
    ran_once(&cluster.ends_once(task).await);
    let before = cluster.has_two_orchestrators().await;
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    let still = cluster.worker_is(&worker.name, WorkerState::Draining).await;
    assert_eq!(still.generation, worker.generation);
    assert_eq!(cluster.command(&order("resume")).await.status, 200);
    cluster.worker_is(&worker.name, WorkerState::Ready).await;
}

#[tokio::test]
async fn a_restarted_worker_finishes_its_task_first() {
    let cluster = Setup::new().workers(1).start().await;
    let task = cluster.submit(sleep(3.0)).await;
    let worker = cluster.worker_of(task).await;
    assert_eq!(cluster.command("/api/v1/workers/worker-1/restart").await.status, 200);
    let later = cluster.submit(sleep(0.1)).await;
    ran_once(&cluster.ends_once(task).await);
    let replacement = cluster.replacement_of(&worker).await;
    assert_eq!(replacement.generation, worker.generation.next());
    ran_once(&cluster.ends_once(later).await);
}
