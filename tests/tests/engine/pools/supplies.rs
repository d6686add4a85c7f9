//! What workers are made of goes away or becomes another while the pool stays as it is.

use clb_protocol::api::{PoolState, TaskState, WorkerState, WorkerView};
use clb_tests::cluster::expect::ran_once;
use clb_tests::cluster::{Cluster, WorkerKind};
use clb_tests::engine::{Gate, docker};
use clb_tests::images::images;
use clb_tests::{Setup, run, sleep};
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

async fn image_of(worker: &WorkerView) -> String {
    let container = worker.container.as_ref().expect("a container");
    docker(&["inspect", "--format", "{{.Image}}", container.as_str()]).await
}

#[tokio::test]
async fn another_image_of_the_same_name_is_rolled_out_by_the_next_leader() {
    let name = format!("{}bundled", run::prefix());
    docker(&["tag", &images().await.worker, &name]).await;
    let cluster = Setup::new().workers(2).slots(2).kind(WorkerKind::Named(name.clone())).start().await;
    cluster.has_pool("tool", &json!({"image": images().await.fixture})).await;
    let old = cluster.workers().await;
    let change_leader = async || {
        let before = cluster.has_two_orchestrators().await;
        cluster.leader().await.kill().await;
        cluster.is_led_after(before.epoch).await;
    };
    change_leader().await;
    cluster.has_two_orchestrators().await;
    docker(&["tag", &images().await.worker_with_fixture, &name]).await;
    let mut tasks = Vec::new();
    for _ in 0..12 {
        tasks.push(cluster.submit(sleep(1.5)).await);
    }
    change_leader().await;
    let generation = old[0].generation.next();
    let is_new = |worker: &WorkerView| worker.state == WorkerState::Ready && worker.generation == generation;
    let new = cluster
        .workers_are("default", "new", |workers| workers.len() == 2 && workers.iter().all(is_new))
        .await;
    let image = docker(&["image", "inspect", "--format", "{{.Id}}", &name]).await;
    for worker in &new {
        assert_eq!(image_of(worker).await, image);
    }
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    for pool in ["default", "tool"] {
        cluster.pool_is("ready", pool, |pool| pool.state == PoolState::Ready).await;
    }
    let tool = |workers: &[WorkerView]| workers.iter().find(|it| it.pool.as_str() == "tool").cloned();
    let (before, after) = (tool(&old).unwrap(), tool(&cluster.workers().await).unwrap());
    assert_eq!(after.container, before.container, "a worker of another pool was replaced");
    docker(&["rmi", &name]).await;
}
