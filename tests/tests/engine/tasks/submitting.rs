//! One task: submitted once however often it is sent, and shown until it ends.

use std::time::Duration;

use clb_protocol::api::{TaskState, TaskView};
use clb_protocol::task::TaskRequest;
use clb_tests::cluster::expect::ran_once;
use clb_tests::{Cluster, sleep, spin};
use serde_json::json;

#[tokio::test]
async fn tasks_give_their_sums() {
    let cluster = Cluster::shared().await;
    ran_once(&cluster.ends_once(cluster.submit(spin(0.2)).await).await);
    ran_once(&cluster.ends_once(cluster.submit(sleep(0.0)).await).await);
}

#[tokio::test]
async fn the_same_submission_twice_is_one_task() {
    let cluster = Cluster::shared().await;
    let task = sleep(0.1);
    let door = cluster.leaders_door().await;
    let first = door.submit(&task).await.unwrap();
    assert_eq!(first.status, 201, "{}", first.text());
    let id = task.id.unwrap();
    assert_eq!(first.headers["location"].to_str().unwrap(), format!("/api/v1/tasks/{id}"));
    for door in cluster.doors() {
        let again = door.submit(&task).await.unwrap();
        assert_eq!((again.status, again.json::<TaskView>().id), (200, id));
    }
    let other = TaskRequest { work: sleep(0.2).work, ..task };
    for door in cluster.doors() {
        let problem = door.submit(&other).await.unwrap().problem();
        assert_eq!((problem.status, problem.errors.len()), (409, 1), "{problem:?}");
        assert_eq!(problem.errors[0].pointer, "/seconds");
        assert!(problem.detail.contains(&id.to_string()), "{problem:?}");
    }
    ran_once(&cluster.ends_once(id).await);
    assert_eq!(door.submit(&TaskRequest { work: sleep(0.1).work, ..other }).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_idempotency_key_stands_in_for_an_id() {
    let cluster = Cluster::shared().await;
    let [one, two] = cluster.doors();
    let body = r#"{"kind": "sleep", "seconds": 0.1, "add": [3, 4]}"#;
    let key = format!("order {}", sleep(0.0).id.unwrap());
    let first = one.post("/api/v1/tasks", body).header("idempotency-key", &key).send().await;
    let again = two.post("/api/v1/tasks", body).header("idempotency-key", &key).send().await;
    assert_eq!((first.status, again.status), (201, 200), "{} {}", first.text(), again.text());
    let (first, again): (TaskView, TaskView) = (first.json(), again.json());
    assert_eq!(first.id, again.id);
    let other = r#"{"kind": "sleep", "seconds": 0.1, "add": [3, 5]}"#;
    let refused = two.post("/api/v1/tasks", other).header("idempotency-key", &key).send().await;
    assert_eq!(refused.problem().status, 409);
    ran_once(&cluster.ends_once(first.id).await);
}

#[tokio::test]
async fn waiting_ends_with_the_task_or_with_the_time() {
    let cluster = Cluster::shared().await;
    let long = cluster.submit(sleep(20.0)).await;
    for door in cluster.doors() {
        let shown: TaskView = door.get(&format!("/api/v1/tasks/{long}?wait=0.3")).send().await.json();
        assert!(!shown.state.has_ended(), "{shown:?}");
    }
    let short = cluster.submit(sleep(0.5)).await;
    let call = cluster.doors()[1].get(&format!("/api/v1/tasks/{short}?wait=60"));
    // Less than the time asked for: the answer must come with the end of the task.
    let shown: TaskView = call.within(Duration::from_secs(40)).send().await.json();
    assert_eq!(shown.state, TaskState::Succeeded);
    let cancelled = cluster.doors()[0].post(&format!("/api/v1/tasks/{long}/cancel"), "").send().await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
}

#[tokio::test]
async fn a_task_is_shown_with_everything_that_was_said_of_it() {
    let cluster = Cluster::shared().await;
    let body = json!({
        "kind": "sleep", "seconds": 0.1, "add": [1.5, 2], "priority": 7, "max_attempts": 2, "timeout": 30,
        "group": "shown", "labels": {"colour": "blue", "a/b": ""}
    });
    let created = cluster.doors()[0].post("/api/v1/tasks", body.to_string()).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
    let task = cluster.end_of(created.json::<TaskView>().id).await;
    assert_eq!(task.result.as_ref().unwrap().get(), r#"{"sum":3.5}"#);
    assert_eq!((task.group.as_deref(), task.priority), (Some("shown"), 7));
    assert_eq!(task.labels.get("colour").map(String::as_str), Some("blue"));
    let spec: serde_json::Value = serde_json::from_str(task.spec.get()).unwrap();
    assert_eq!((&spec["seconds"], &spec["max_attempts"]), (&json!(0.1), &json!(2)));
    assert!(task.submitted_at <= task.started_at.unwrap() && task.started_at <= task.finished_at);
}

#[tokio::test]
async fn a_task_that_outruns_its_timeout_fails_and_says_so() {
    let cluster = Cluster::shared().await;
    let mut task = sleep(600.0);
    (task.timeout, task.max_attempts) = (Some(0.3), Some(2));
    let ended = cluster.end_of(cluster.submit(task).await).await;
    assert_eq!(ended.state, TaskState::Failed);
    assert_eq!(ended.error.as_ref().unwrap().code, "timed_out", "{ended:?}");
    assert_eq!(ended.attempts.len(), 2, "{ended:?}");
}
