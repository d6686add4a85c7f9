//! Orchestrators that are stopped one after the other: the last one takes the workers along, whichever it is.

use clb_protocol::api::{BatchEntry, Role};
use clb_tests::cluster::{Cluster, other_than};
use clb_tests::engine::Container;
use clb_tests::{LONG, SOON, Setup, eventually, sleep};

/// So many that a leader takes longer to begin its term than the engine takes to stop the next container.
const QUEUED: usize = 100_000;
const BATCH: usize = 10_000;

async fn has_role(cluster: &Cluster, name: &str, role: Role) {
    eventually(&format!("{name} is {role:?}"), SOON, async || {
        let view = cluster.view().await;
        let is_so = view.members.iter().any(|member| member.name.as_str() == name && member.role == role);
        is_so.then_some(()).ok_or_else(|| format!("{:?}", view.members))
    })
    .await;
}

async fn is_stopped_without_a_kill(orchestrator: &Container) {
    orchestrator.stop().await;
    assert_eq!(orchestrator.inspect().await.state.exit_code, 0, "{} had to be killed", orchestrator.id());
}

async fn has_no_workers(cluster: &Cluster) {
    let left = cluster.worker_containers().await;
    assert!(left.is_empty(), "these stayed behind: {left:?}");
}

#[tokio::test]
async fn a_frozen_standby_is_down_and_nobody_to_hand_over_to() {
    let cluster = Setup::new().workers(2).start().await;
    let before = cluster.has_two_orchestrators().await;
    let name = other_than(&before.leader);
    let standby = cluster.container(name);
    standby.pause().await;
    has_role(&cluster, name, Role::Down).await;
    assert!(standby.unpause_if_there().await);
    has_role(&cluster, name, Role::Standby).await;
    assert_eq!(cluster.view().await.epoch, before.epoch, "a frozen standby cost the leader its term");

    standby.pause().await;
    has_role(&cluster, name, Role::Down).await;
    is_stopped_without_a_kill(&cluster.container(before.leader.as_str())).await;
    has_no_workers(&cluster).await;
}

#[tokio::test]
async fn a_standby_that_freezes_as_the_leader_leaves_keeps_no_workers() {
    let cluster = Setup::new().workers(2).start().await;
    let before = cluster.has_two_orchestrators().await;
    // The leader cannot have missed it yet.
    cluster.standby().await.pause().await;
    is_stopped_without_a_kill(&cluster.container(before.leader.as_str())).await;
    has_no_workers(&cluster).await;
}

#[tokio::test]
async fn a_standby_that_is_stopped_while_it_takes_over_a_long_queue_takes_the_workers_along() {
    let cluster = Setup::new().workers(2).start().await;
    let paused = cluster.command("/api/v1/pools/default/pause").await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    for _ in 0..QUEUED / BATCH {
        let batch: Vec<_> = (0..BATCH).map(|_| sleep(0.0)).collect();
        let body = serde_json::to_string(&batch).unwrap();
        let answer = cluster.doors()[0].post("/api/v1/tasks/batch", body).within(LONG).send().await;
        let entries: Vec<BatchEntry> = answer.json();
        assert!(entries.iter().all(|entry| entry.status == 201), "{}", answer.text());
    }
    let before = cluster.has_two_orchestrators().await;
    // As Compose does it: who depends on another is stopped first.
    is_stopped_without_a_kill(&cluster.container(before.leader.as_str())).await;
    is_stopped_without_a_kill(&cluster.container(other_than(&before.leader))).await;
    has_no_workers(&cluster).await;
}
