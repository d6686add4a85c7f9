use serde_json::json;

use crate::program::run;
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

#[tokio::test]
async fn tasks_are_cancelled_by_id_or_by_what_they_have_in_common() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let id = run(&cluster, &["submit", "--sleep", "9"]).await.stdout.trim().to_owned();
    let done = run(&cluster, &["cancel", &id]).await;
    assert_eq!((done.code, done.stdout), (0, format!("{id} cancelled\n")));

    let done = run(&cluster, &["cancel", "--group", "g", "--label", "a=b", "--state", "queued"]).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "3 cancelled\n"));
    assert_eq!(cluster.memory().orders, [json!({ "state": "queued", "group": "g", "labels": { "a": "b" } })]);
    assert_eq!(run(&cluster, &["cancel"]).await.code, 2, "everything is not cancelled by a slip");
}

#[tokio::test]
async fn a_retry_goes_on_after_one_that_is_refused() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let waiting = run(&cluster, &["submit", "--sleep", "9"]).await.stdout.trim().to_owned();
    cluster.employ(shell);
    let failed = run(&cluster, &["submit", "--", "exit", "1"]).await.stdout.trim().to_owned();
    let done = run(&cluster, &["retry", &waiting, &failed]).await;
    let replay = cluster.memory().tasks[2]["id"].as_str().unwrap().to_owned();
    assert_eq!((done.code, done.stdout), (4, format!("{replay} failed\n")));
    assert!(done.stderr.contains("has not ended"), "{}", done.stderr);
    let many = run(&cluster, &["retry", "--pool", "p"]).await;
    assert_eq!((many.code, many.stdout.as_str()), (4, "2 new tasks, 1 already replayed\n"));
    assert!(many.stderr.contains("the queue was full or their pool is gone"), "{}", many.stderr);
}

#[tokio::test]
async fn a_pool_is_made_changed_paused_and_deleted() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let done = run(&cluster, &["pool", "set", "p", "--workers", "2"]).await;
    assert!(done.code == 2 && done.stderr.contains("--image"), "{done:?}");
    let first =
        ["pool", "set", "p", "--image", "python:3.12-slim", "--memory", "1g", "--mount", "/srv:/data:ro"];
    assert_eq!(run(&cluster, &first).await.code, 0);
    let done = run(&cluster, &["pool", "set", "p", "--workers", "4", "--env", "A=b", "--json"]).await;
    let spec = &done.json()["spec"];
    assert_eq!((&spec["image"], &spec["workers"]), (&json!("python:3.12-slim"), &json!(4)));
    assert_eq!((&spec["memory"], &spec["env"]), (&json!(1 << 30), &json!({ "A": "b" })));
    assert_eq!(spec["mounts"][0]["read_only"], true);

    let done = run(&cluster, &["pool", "set", "p", "--slots", "0"]).await;
    assert!(done.code == 2 && done.stderr.contains("--slots: must be"), "{done:?}");
    assert!(run(&cluster, &["pool", "pause", "p"]).await.stdout.contains("paused"));
    assert!(run(&cluster, &["pool", "list"]).await.stdout.contains("python:3.12-slim"));
    assert!(run(&cluster, &["pool", "show", "p"]).await.stdout.contains("mounts      /srv:/data:ro"));
    let done = run(&cluster, &["pool", "delete", "p", "--json"]).await;
    assert_eq!(done.json(), json!({ "name": "p", "is_deleted": true }));
    assert_eq!(run(&cluster, &["pool", "resume", "p"]).await.code, 5);
    assert_eq!(run(&cluster, &["pool", "show", "../x"]).await.code, 2);
}

#[tokio::test]
async fn workers_are_listed_drained_restarted_and_resumed() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let done = run(&cluster, &["workers"]).await;
    assert!(done.stdout.contains("worker-3") && done.stdout.contains("5.0 MiB / 256.0 MiB"), "{done:?}");
    assert_eq!(run(&cluster, &["workers", "--json"]).await.json().as_array().unwrap().len(), 3);
    for (order, state) in [("drain", "draining"), ("restart", "draining"), ("resume", "ready")] {
        let done = run(&cluster, &[order, "worker-2", "--json"]).await;
        assert_eq!(done.json()["state"], state, "{order}");
        assert_eq!(run(&cluster, &[order, "nobody"]).await.code, 5);
    }
}

#[tokio::test]
async fn the_cluster_and_a_waiting_task_are_explained() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let done = run(&cluster, &["cluster"]).await;
    assert!(done.stdout.starts_with("clb: orchestrator-1 leads in term 3"), "{done:?}");
    assert_eq!(run(&cluster, &["cluster", "--json"]).await.json()["epoch"], 3);
    let id = run(&cluster, &["submit", "--sleep", "9"]).await.stdout.trim().to_owned();
    let done = run(&cluster, &["explain", &id]).await;
    assert!(done.stdout.starts_with("every worker is full (no_free_slot)\n"), "{done:?}");
    assert!(done.stdout.contains("it is full"), "{done:?}");
    assert_eq!(run(&cluster, &["explain", &id, "--json"]).await.json()["waiting"]["ahead"], 7);
}

#[tokio::test]
async fn what_a_pool_has_can_be_taken_away() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let set = async |more: &[&str]| run(&cluster, &[&["pool", "set", "p", "--json"], more].concat()).await;
    let ports = ["--first-port", "4000"];
    let first = ["--image", "x", "--env", "A=b", "--mount", "/srv:/data"];
    assert_eq!(set(&[&first[..], &ports].concat()).await.json()["spec"]["first_port"], 4000);
    let spec = set(&["--no-env", "--no-mounts", "--first-port", "none"]).await.json()["spec"].take();
    let pool: clb_client::protocol::pool::PoolSpec = serde_json::from_value(spec).unwrap();
    assert!(pool.env.is_empty() && pool.mounts.is_empty() && pool.first_port.is_none(), "{pool:?}");

    set(&ports).await;
    let done = set(&["--network", "false"]).await;
    assert!(done.json()["spec"]["first_port"].is_null(), "{done:?}");
    assert!(done.stderr.contains("workers without a network have no ports"), "{done:?}");
    let done = set(&ports).await;
    assert!(done.code == 2 && done.stderr.contains("--network true"), "{done:?}");
    assert_eq!(set(&["--no-env", "--env", "A=b"]).await.code, 2);
}
