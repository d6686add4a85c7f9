//! The volume of the store is full.

use clb_protocol::task::TaskRequest;
use clb_protocol::{TaskId, seed};
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::container_of;
use clb_tests::{LONG, Setup, eventually, sleep};

/// A task that needs much room.
fn bulky() -> TaskRequest {
    let mut task = sleep(0.1);
    for key in 0..30 {
        task.labels.insert(format!("key {key}"), "x".repeat(255));
    }
    task
}

/// Submits until the store takes no more; gives what was acknowledged.
async fn submits_until_refused(cluster: &Cluster) -> Vec<TaskId> {
    let mut acknowledged = Vec::new();
    eventually("a submission is refused for want of room", LONG, async || {
        let task = bulky();
        let answer = cluster.doors()[0].submit(&task).await?;
        if answer.status == 503 {
            let problem = answer.problem();
            assert!(answer.headers.contains_key("retry-after"), "{problem:?}");
            let says_why = problem.detail.contains("full");
            return says_why.then_some(()).ok_or(problem.detail);
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
        acknowledged.extend(task.id);
        Err("it was accepted".to_owned())
    })
    .await;
    acknowledged
}

#[tokio::test]
async fn a_full_volume_refuses_submissions_and_loses_nothing() {
    let cluster = Setup::new().workers(2).store_bytes(24 << 20).start().await;
    let mut acknowledged = vec![cluster.submit(sleep(0.1)).await];
    cluster.all_end_once(&acknowledged).await;
    let running = cluster.submit(sleep(6.0)).await;
    let before = cluster.worker_of(running).await;
    acknowledged.push(running);

    cluster.run_fixture(&["fill", "/data/ballast"]).await;
    acknowledged.extend(submits_until_refused(&cluster).await);
    for orchestrator in cluster.orchestrators() {
        assert!(orchestrator.is_running().await, "{} ended", orchestrator.id());
    }
    for door in cluster.doors() {
        assert_eq!(door.get("/healthz").send().await.status, 200);
    }

    // Long enough for the lease to run out as well.
    eventually("the running task ends with nobody to take its result", LONG, async || {
        let logs = container_of(&before).logs().await;
        let sent = seed::sent_result_to_leader(running, 0);
        let sent = sent.trim_end_matches(" for leader to port: 0");
        if logs.contains(sent) { Ok(()) } else { Err(logs) }
    })
    .await;
    cluster.run_fixture(&["remove", "/data/ballast"]).await;
    let late = cluster.submit(sleep(0.1)).await;
    acknowledged.push(late);
    cluster.all_end_once(&acknowledged).await;
    cluster.is_whole().await;
    let after = cluster.worker(&before.name).await;
    assert_eq!(after.generation, before.generation, "a worker was lost for want of room");
}
