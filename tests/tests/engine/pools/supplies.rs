//! What workers are made of goes away while the pool stays as it is.

use clb_protocol::api::TaskState;
use clb_tests::Setup;
use clb_tests::cluster::Cluster;
use clb_tests::engine::{Gate, docker};
use clb_tests::images::images;
use serde_json::json;

async fn program_volumes(cluster: &Cluster) -> Vec<String> {
    let filter = format!("name={}-worker-", cluster.name());
    docker(&["volume", "ls", "-q", "--filter", &filter]).await.lines().map(str::to_owned).collect()
}

async fn remove_program(cluster: &Cluster) {
    let volumes = program_volumes(cluster).await;
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    docker(&["volume", "rm", &volumes[0]]).await;
}

async fn runs_a_task(cluster: &Cluster) {
    let ended = cluster.run_in("tool", "/fixture", &["exit", "0"]).await;
    assert_eq!(ended.state, TaskState::Succeeded, "{ended:?}");
}

#[tokio::test]
async fn a_pool_gets_the_workers_program_back_when_its_volume_is_removed() {
    let gate = Gate::open();
    let cluster = Setup::new().workers(1).gate(&gate).start().await;
    let image = &images().await.fixture;
    cluster.has_pool("tool", &json!({"image": image})).await;
    assert_eq!(cluster.put_pool("tool", &json!({"image": image, "workers": 0})).await.status, 200);
    cluster.workers_are("tool", "gone", <[_]>::is_empty).await;
    remove_program(&cluster).await;
    cluster.has_pool("tool", &json!({"image": image})).await;
    runs_a_task(&cluster).await;

    gate.go_away();
    cluster.container("tool-1").remove().await;
    remove_program(&cluster).await;
    gate.come_back();
    runs_a_task(&cluster).await;
    let leader = cluster.view().await.leader;
    let lines = cluster.log_lines(leader.as_str()).await;
    let healed = lines.iter().filter(|line| line.message.contains("worker's program is put into the volume"));
    assert_eq!(healed.count(), 3, "{lines:?}");
    cluster.tear_down().await;
    assert!(program_volumes(&cluster).await.is_empty(), "a volume stayed behind");
}
