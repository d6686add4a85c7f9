//! What the operator says of pools: `clb.toml`, and how a worker for a task is found.

use std::collections::BTreeSet;

use clb_protocol::api::{PoolSource, TaskState};
use clb_tests::cluster::pools::result_of;
use clb_tests::engine::docker_output;
use clb_tests::images::images;
use clb_tests::{Cluster, SOON, Setup, eventually, sleep};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with `clb.toml`, as `./config` is beside `docker-compose.yml`.
fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clb.toml"), text).unwrap();
    folder
}

#[tokio::test]
async fn pools_of_the_operators_file_are_there_from_the_start_and_come_back_after_a_put() {
    let image = &images().await.fixture;
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("note"), "").unwrap();
    let source = data.path().display();
    let file = format!(
        "mount_prefixes = [\"{source}\"]\n\n[pools.tools]\nimage = \"{image}\"\nworkers = 2\nslots = 3\n\
         mounts = [{{ source = \"{source}\", target = \"/data\", read_only = true }}]\nenv = {{ KIND = \"file\" }}\n"
    );
    let folder = folder_with(&file);
    let cluster = Setup::new().workers(1).config(folder.path()).start_without_waiting_for_workers().await;
    let pool = cluster.pool_is("ready", "tools", |pool| pool.workers.ready == 2).await;
    assert_eq!((pool.source, pool.spec.workers, pool.spec.slots), (PoolSource::File, 2, 3));
    let ended = cluster.run_in("tools", "/fixture", &["steps", "await", "/data/note", "say", "seen"]).await;
    assert_eq!(
        (ended.state, result_of(&ended, "stdout")),
        (TaskState::Succeeded, json!("seen\n")),
        "{ended:?}"
    );

    let elsewhere = json!({"image": image, "mounts": [{"source": "/usr", "target": "/data"}]});
    let refused = cluster.put_pool("tools", &elsewhere).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let fewer = cluster.has_pool("tools", &json!({"image": image, "workers": 1})).await;
    assert_eq!(fewer.source, PoolSource::Api);
    assert_eq!(cluster.delete_pool("tools").await.status, 204);
    let back = cluster.pool_is("as in the file", "tools", |pool| pool.workers.ready == 2).await;
    assert_eq!((back.source, back.spec), (PoolSource::File, pool.spec));
    assert_eq!(cluster.delete_pool("tools").await.status, 409, "the operator's pools stay");
}

#[tokio::test]
async fn a_mistake_in_the_operators_file_keeps_an_orchestrator_from_starting_and_is_told_with_its_line() {
    let folder = folder_with("[pools.tools]\nimage = \"tool:1\"\nwrokers = 2\n");
    let cluster = Setup::new().workers(1).config(folder.path()).start_in_vain().await;
    let [orchestrator, _] = cluster.orchestrators();
    eventually("the orchestrator says what is wrong", SOON, async || {
        let said = docker_output(&["logs", orchestrator.id()]).await;
        let is_told = said.contains("/etc/clb/clb.toml:3") && said.contains("wrokers");
        is_told.then_some(()).ok_or(said)
    })
    .await;
}

/// Which workers had the tasks, in the order of submission, one task after the other.
async fn workers_of(cluster: &Cluster, count: usize) -> Vec<String> {
    let mut workers = Vec::new();
    for _ in 0..count {
        let ended = cluster.ends_once(cluster.submit(sleep(0.0)).await).await;
        workers.extend(ended.worker);
    }
    workers
}

/// The policy that a task is said to have been placed by.
async fn policy_of_a_task(cluster: &Cluster) -> Value {
    let task = cluster.submit(sleep(0.0)).await;
    cluster.ends_once(task).await;
    let answer = cluster.leaders_door().await.get(&format!("/api/v1/tasks/{task}/explain")).send().await;
    answer.json::<Value>()["placement"]["policy"].clone()
}

#[tokio::test]
async fn each_placement_gives_out_tasks_and_says_that_it_did() {
    for placement in ["least-loaded", "seed", "round-robin", "random"] {
        let setup = Setup::new().workers(2).slots(2).option("CLB_PLACEMENT", placement);
        let cluster = setup.start().await;
        assert_eq!(policy_of_a_task(&cluster).await, placement);
        if placement == "round-robin" {
            let workers = workers_of(&cluster, 6).await;
            assert!(workers.windows(2).all(|two| two[0] != two[1]), "not in turns: {workers:?}");
        }
        // All slots are used, whoever decides.
        let mut tasks = Vec::new();
        for _ in 0..4 {
            tasks.push(cluster.submit(sleep(2.0)).await);
        }
        let used: BTreeSet<_> =
            cluster.all_end_once(&tasks).await.into_iter().filter_map(|task| task.worker).collect();
        assert_eq!(used.len(), 2, "{placement}: {used:?}");
    }
}
