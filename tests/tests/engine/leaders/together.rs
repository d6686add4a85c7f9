//! Several containers go at the same time.

use clb_protocol::api::VerdictKind;
use clb_tests::cluster::expect::{container_of, ran_once, verdict_on};
use clb_tests::cluster::{Cluster, other_than};
use clb_tests::engine::kill_together;
use clb_tests::{Setup, sleep};

#[tokio::test]
async fn the_leader_and_a_worker_killed_together_cost_one_attempt() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(cluster.submit(sleep(8.0)).await);
    }
    let mut holders = Vec::new();
    for task in &tasks {
        holders.push(cluster.worker_of(*task).await);
    }
    let victim = holders[0].clone();
    kill_together(&[cluster.leader().await, container_of(&victim)]).await;
    cluster.is_led_after(before.epoch).await;
    for (task, holder) in cluster.all_end_once(&tasks).await.iter().zip(&holders) {
        if holder.name == victim.name {
            assert_eq!(verdict_on(task, &victim), VerdictKind::Killed);
            assert_eq!(task.attempts.len(), 2, "{task:?}");
        } else {
            ran_once(task);
        }
    }
    cluster.replacement_of(&victim).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn after_both_orchestrators_were_killed_one_that_is_started_finds_everything() {
    let cluster = Setup::new().workers(2).slots(1).start().await;
    let before = cluster.has_two_orchestrators().await;
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(cluster.submit(sleep(12.0)).await);
    }
    for task in &running {
        cluster.worker_of(*task).await;
    }
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(cluster.submit(sleep(0.2)).await);
    }
    kill_together(&cluster.orchestrators()).await;
    // The one that did not lead: it knows the least.
    cluster.container(other_than(&before.leader)).start().await;
    cluster.is_led_after(before.epoch).await;
    for task in cluster.all_end_once(&running).await {
        ran_once(&task);
    }
    cluster.all_end_once(&waiting).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn stopping_all_orchestrators_removes_the_workers_and_keeps_the_tasks() {
    let cluster = Cluster::start().await;
    let done = cluster.submit(sleep(0.1)).await;
    cluster.ends_once(done).await;
    let task = cluster.submit(sleep(4.0)).await;
    cluster.worker_of(task).await;

    // With no worker on it, the network can go, as `docker compose down` wants it to.
    cluster.tear_down().await;
    cluster.start_again().await;
    cluster.all_end_once(&[done, task]).await;
}
