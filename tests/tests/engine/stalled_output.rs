//! Whoever reads what the containers write stops reading: they go on.

use clb_tests::engine::Container;
use clb_tests::{Cluster, SOON, eventually, sleep};
use futures::future::join_all;

#[tokio::test]
async fn a_leader_and_workers_whose_output_nobody_reads_go_on_and_say_all_of_it_later() {
    let cluster = Cluster::start().await;
    let before = cluster.view().await;
    let (leader, workers) = (cluster.leader().await, cluster.worker_containers().await);
    let mut stalled = join_all(workers.iter().map(Container::stall_output)).await;
    stalled.push(leader.stall_output().await);

    let mut tasks = Vec::new();
    for _ in 0..2 * workers.len() {
        tasks.push(cluster.submit(sleep(1.0)).await);
    }
    for task in cluster.all_end_once(&tasks).await {
        assert_eq!(task.attempts.len(), 1, "it was run again: {task:?}");
    }
    let after = cluster.view().await;
    assert_eq!((&after.leader, after.epoch), (&before.leader, before.epoch), "it was deposed");
    assert_eq!(cluster.obituaries().await.len(), 0, "a worker was given up");

    drop(stalled);
    for container in [&leader, &workers[0]] {
        eventually("what it had to say is written", SOON, async || {
            let said = container.logs().await;
            let has_said = tasks.iter().any(|task| said.contains(&format!("Received payload: {task}")));
            if has_said { Ok(()) } else { Err(said) }
        })
        .await;
    }
}
