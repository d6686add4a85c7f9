//! Many tasks in one request, as a JSON array or one a line.

use clb_protocol::TaskId;
use clb_protocol::api::BatchEntry;
use clb_tests::{Cluster, sleep};
use serde_json::Value;

fn statuses(entries: &[BatchEntry]) -> Vec<u16> {
    entries.iter().map(|entry| entry.status).collect()
}

fn ids(entries: &[BatchEntry]) -> Vec<TaskId> {
    entries.iter().filter(|entry| entry.status == 201).filter_map(|entry| entry.id).collect()
}

/// A good one, a bad one, the good one again, another of the same id, text that is no task.
fn mixed() -> Vec<Value> {
    let good = serde_json::to_value(sleep(0.1)).unwrap();
    let mut other = good.clone();
    other["add"] = serde_json::json!([1, 1]);
    let bad = serde_json::json!({"kind": "sleep", "seconds": -1});
    vec![good.clone(), bad, good, other, Value::from("no task")]
}

#[tokio::test]
async fn a_batch_answers_for_each_of_its_tasks() {
    let cluster = Cluster::shared().await;
    let mut accepted = Vec::new();
    for door in cluster.doors() {
        let body = serde_json::to_string(&mixed()).unwrap();
        let array = door.post("/api/v1/tasks/batch", body).send().await;
        assert_eq!(array.status, 200, "{}", array.text());
        let lines: Vec<String> = mixed().iter().map(Value::to_string).collect();
        let lines = lines.join("\n");
        let call = clb_tests::http::Call::new("POST", door.url("/api/v1/tasks/batch")).body(lines);
        let lines = call.header("content-type", "application/x-ndjson").send().await;
        assert_eq!(lines.status, 200, "{}", lines.text());
        for answer in [array, lines] {
            let entries: Vec<BatchEntry> = answer.json();
            assert_eq!(statuses(&entries), [201, 422, 200, 409, 422]);
            assert_eq!(entries[1].error.as_ref().unwrap().errors[0].pointer, "/seconds");
            assert_eq!(entries[3].error.as_ref().unwrap().errors[0].pointer, "/add");
            accepted.extend(ids(&entries));
        }
    }
    assert_eq!(accepted.len(), 4);
    cluster.all_end_once(&accepted).await;
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_accepted_and_ends() {
    let cluster = Cluster::shared().await;
    let tasks: Vec<_> = (0..10_000).map(|_| sleep(0.0)).collect();
    let body = serde_json::to_string(&tasks).unwrap();
    let answer = cluster.doors()[1].post("/api/v1/tasks/batch", body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entries: Vec<BatchEntry> = answer.json();
    assert!(entries.iter().all(|entry| entry.status == 201));
    let mut wanted: Vec<TaskId> = entries.iter().filter_map(|entry| entry.id).collect();
    assert!(wanted.iter().eq(tasks.iter().filter_map(|task| task.id.as_ref())), "out of order");
    cluster.end_of(*wanted.last().unwrap()).await;
    clb_tests::eventually("all have ended", clb_tests::LONG, async || {
        let view = cluster.view().await;
        (view.tasks.queued == 0).then_some(()).ok_or_else(|| format!("{:?}", view.tasks))
    })
    .await;
    for task in wanted.iter().rev().take(50) {
        cluster.end_of(*task).await;
    }
    let mut recorded: Vec<TaskId> = cluster.outcomes().await.iter().map(|outcome| outcome.task.id).collect();
    recorded.sort();
    wanted.sort();
    assert!(recorded.windows(2).all(|two| two[0] != two[1]), "a task stands in the outcomes twice");
    assert!(wanted.iter().all(|id| recorded.binary_search(id).is_ok()), "a task has no outcome");
}
