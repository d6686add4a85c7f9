//! Cancelling and replaying, one task or all that a filter lets through.

use clb_protocol::TaskId;
use clb_protocol::api::{BatchEntry, ManyCancelled, ManyReplayed, TaskState, TaskView};
use clb_protocol::task::{Argv, Command, TaskRequest, Work};
use clb_tests::cluster::{Cluster, Door};
use clb_tests::http::Answer;
use clb_tests::{Setup, sleep};
use serde_json::{Value, json};

/// A task that fails at once, whose program is not there.
fn failing(group: &str) -> TaskRequest {
    let work = Work::Command(Command::new(Argv::new::<&str>("/not/there", [])));
    let (id, group) = (Some(TaskId::now()), Some(group.to_owned()));
    TaskRequest { id, group, max_attempts: Some(1), ..TaskRequest::new(work) }
}

async fn cancel_many(door: &Door, selection: Value) -> u64 {
    let answer = door.post("/api/v1/tasks/cancel", selection.to_string()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json::<ManyCancelled>().cancelled
}

async fn replay_many(door: &Door, selection: Value) -> (u64, u64, u64) {
    let answer = door.post("/api/v1/tasks/replay", selection.to_string()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ManyReplayed { replayed, known, refused } = answer.json();
    (replayed, known, refused)
}

async fn replay(door: &Door, task: TaskId) -> Answer {
    door.post(&format!("/api/v1/tasks/{task}/replay"), "").send().await
}

#[tokio::test]
async fn tasks_are_cancelled_by_what_they_have_in_common_whether_they_wait_or_run() {
    let cluster = Setup::new().workers(1).slots(2).start().await;
    let [one, two] = cluster.doors();
    let long = |group: &str| TaskRequest { group: Some(group.to_owned()), ..sleep(600.0) };
    let running = [cluster.submit(long("runs")).await, cluster.submit(long("many")).await];
    for task in running {
        cluster.worker_of(task).await;
    }
    let mut batch: Vec<TaskRequest> = (0..2_500).map(|_| long("many")).collect();
    batch[7].labels.insert("colour".to_owned(), "blue".to_owned());
    let body = serde_json::to_string(&batch).unwrap();
    let entries: Vec<BatchEntry> = one.post("/api/v1/tasks/batch", body).send().await.json();
    assert!(entries.iter().all(|entry| entry.status == 201));

    assert_eq!(cancel_many(&two, json!({"state": "queued", "labels": {"colour": "blue"}})).await, 1);
    assert_eq!(cluster.task(entries[7].id.unwrap()).await.state, TaskState::Cancelled);
    assert_eq!(cancel_many(&one, json!({"group": "nobody"})).await, 0);
    assert_eq!(cancel_many(&two, json!({"group": "many", "state": "queued"})).await, 2_499);
    assert_eq!(cluster.task(running[1]).await.state, TaskState::Running);
    assert_eq!(cancel_many(&one, json!({"group": "many"})).await, 1);
    assert_eq!(cancel_many(&one, json!({"pool": "default", "state": "running"})).await, 1);
    let counts = cluster.view().await.tasks;
    assert_eq!((counts.cancelled, counts.queued, counts.running), (2_502, 0, 0));
    assert_eq!(cluster.outcomes().await.len(), 2_502);
    cluster.ends_once(cluster.submit(sleep(0.0)).await).await;
}

#[tokio::test]
async fn a_task_is_replayed_once_and_a_replay_again() {
    let cluster = Cluster::shared().await;
    let [one, two] = cluster.doors();
    let original = cluster.submit(failing("replayed")).await;
    assert_eq!(cluster.end_of(original).await.state, TaskState::Failed);
    let first = replay(&two, original).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let first: TaskView = first.json();
    assert_eq!((first.replay_of, first.group.as_deref()), (Some(original), Some("replayed")));
    for door in [&one, &two] {
        let again = replay(door, original).await;
        assert_eq!((again.status, again.json::<TaskView>().id), (200, first.id));
    }
    cluster.end_of(first.id).await;
    let second: TaskView = replay(&one, first.id).await.json();
    assert_eq!((second.replay_of, cluster.task(second.id).await.replay_of), (Some(first.id), Some(first.id)));

    let long = cluster.submit(sleep(600.0)).await;
    for door in [&one, &two] {
        assert_eq!(replay(door, long).await.problem().status, 409);
        assert_eq!(replay(door, TaskId::now()).await.problem().status, 404);
    }
    let cancelled = one.post(&format!("/api/v1/tasks/{long}/cancel"), "").send().await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
}

#[tokio::test]
async fn tasks_are_replayed_by_what_they_have_in_common_while_there_is_room() {
    let cluster = Setup::new().workers(1).slots(1).option("CLB_QUEUE_LIMIT", 4).start().await;
    let [one, two] = cluster.doors();
    let mut failed = Vec::new();
    for _ in 0..5 {
        failed.push(cluster.submit(failing("nightly")).await);
        cluster.end_of(failed[failed.len() - 1]).await;
    }
    let long = cluster.submit(sleep(600.0)).await;
    cluster.worker_of(long).await;
    assert_eq!(replay(&one, failed[0]).await.status, 201);
    assert_eq!(replay_many(&two, json!({"group": "nightly"})).await, (3, 1, 1));
    assert_eq!(replay_many(&one, json!({"group": "nightly"})).await, (0, 4, 1));
    assert_eq!(replay_many(&one, json!({"group": "nightly", "state": "succeeded"})).await, (0, 0, 0));
    assert_eq!(cancel_many(&one, json!({"state": "running"})).await, 1);
}

#[tokio::test]
async fn a_selection_that_says_nothing_or_nonsense_is_refused() {
    let cluster = Cluster::shared().await;
    for (path, bad) in [("cancel", "failed"), ("replay", "running")] {
        let path = format!("/api/v1/tasks/{path}");
        for (pointer, body) in [
            ("", "{}".to_owned()),
            ("", "[]".to_owned()),
            ("", r#"{"labels": {}, "pool": null}"#.to_owned()),
            ("/state", format!(r#"{{"state": "{bad}"}}"#)),
            ("/state", r#"{"state": "dance"}"#.to_owned()),
            ("/pool", r#"{"pool": 7}"#.to_owned()),
            ("/group", r#"{"group": []}"#.to_owned()),
            ("/labels", r#"{"labels": {"a": 1}}"#.to_owned()),
            ("/a~1b", r#"{"a/b": 1, "group": "nobody"}"#.to_owned()),
        ] {
            for door in cluster.doors() {
                let refused = door.post(&path, body.clone()).send().await.problem();
                let pointers: Vec<&str> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
                assert_eq!((refused.status, pointers), (422, vec![pointer]), "{path} {body}");
            }
        }
        for door in cluster.doors() {
            assert_eq!(door.post(&path, "{").send().await.problem().status, 400);
            let call = clb_tests::http::Call::new("POST", door.url(&path)).body("{}");
            assert_eq!(call.send().await.problem().status, 415);
        }
    }
}
