//! Replays that do something otherwise, and what stands for what.

use clb_protocol::TaskId;
use clb_protocol::api::{GroupPage, TaskPage, TaskState, TaskView};
use clb_protocol::task::{TaskRequest, Work};
use clb_tests::cluster::{Cluster, Door, WorkerKind};
use clb_tests::http::Answer;
use clb_tests::{Setup, sleep, steps};
use serde_json::{Value, json};

fn of_group(group: &str, task: TaskRequest) -> TaskRequest {
    TaskRequest { group: Some(group.to_owned()), max_attempts: Some(1), ..task }
}

fn argv(task: &TaskRequest) -> Value {
    let Work::Command(command) = &task.work else { unreachable!("steps are commands") };
    json!(command.argv)
}

async fn replay(door: &Door, task: TaskId, changes: &Value) -> Answer {
    let body = json!({ "changes": changes }).to_string();
    door.post(&format!("/api/v1/tasks/{task}/replay"), body).send().await
}

async fn listed(door: &Door, query: &str) -> Vec<TaskId> {
    let page: TaskPage = door.get(&format!("/api/v1/tasks?{query}")).send().await.json();
    page.tasks.iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn a_replay_may_have_another_command_pool_timeout_and_number_of_attempts() {
    let cluster = Cluster::shared().await;
    let [one, two] = cluster.doors();
    let failed = cluster.submit(of_group("changed", steps(&["warn", "no", "exit", "1"]))).await;
    cluster.end_of(failed).await;
    let changes = json!({ "command": argv(&steps(&["say", "mended"])), "timeout": 77, "max_attempts": 2, "pool": "default" });
    let made = replay(&two, failed, &changes).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made: TaskView = made.json();
    let ended = cluster.end_of(made.id).await;
    assert_eq!((ended.state, ended.replay_of), (TaskState::Succeeded, Some(failed)));
    let spec: Value = serde_json::from_str(ended.spec.get()).unwrap();
    assert_eq!((&spec["timeout"], &spec["max_attempts"]), (&json!(77.0), &json!(2)));

    assert_eq!(replay(&one, failed, &changes).await.status, 200, "the same once more is the same");
    assert_eq!(replay(&one, failed, &json!(null)).await.status, 200);
    let other = replay(&one, failed, &json!({ "timeout": 78 })).await.problem();
    assert!(other.status == 409 && other.detail.contains(&made.id.to_string()), "{other:?}");

    assert_eq!(listed(&one, "group=changed&replayed=false").await, [made.id]);
    assert_eq!(listed(&two, "group=changed&replayed=true").await, [failed]);
    assert_eq!(cluster.task(failed).await.replayed_by, Some(made.id));
    let name = made.id.to_string();
    assert_eq!(listed(&two, &format!("id={}", &name[name.len() - 12..])).await, [made.id]);
    let groups: GroupPage = two.get("/api/v1/groups?prefix=change").send().await.json();
    assert_eq!(groups.groups.first().map(|group| group.name.as_str()), Some("changed"));
}

#[tokio::test]
async fn changes_that_no_task_could_have_are_refused_with_their_places() {
    let cluster = Cluster::shared().await;
    let ended = cluster.submit(sleep(0.0)).await;
    cluster.end_of(ended).await;
    for (changes, pointer) in [
        (json!({ "timeout": 0 }), "/changes/timeout"),
        (json!({ "max_attempts": "many" }), "/changes/max_attempts"),
        (json!({ "pool": "nobody-has-it" }), "/changes/pool"),
        (json!({ "command": ["true"] }), "/changes/command"),
        (json!({ "group": "g" }), "/changes/group"),
        (json!(7), "/changes"),
    ] {
        for door in cluster.doors() {
            let refused = replay(&door, ended, &changes).await.problem();
            let pointers: Vec<&str> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!((refused.status, pointers), (422, vec![pointer]), "{changes}");
        }
    }
    let [one, _] = cluster.doors();
    let refused =
        one.post(&format!("/api/v1/tasks/{ended}/replay"), r#"{"timeout": 5}"#).send().await.problem();
    assert_eq!((refused.status, refused.errors[0].pointer.as_str()), (422, "/timeout"));
    assert!(cluster.task(ended).await.replayed_by.is_none());
}

#[tokio::test]
async fn a_group_is_mended_on_the_command_line() {
    let cluster = Setup::new().workers(1).slots(4).kind(WorkerKind::WithFixture).start().await;
    let clb = async |line: &str| cluster.clb(&line.split(' ').collect::<Vec<_>>(), "").await;
    let fail = ["warn", "no such file", "exit", "3"];
    for task in [steps(&fail), steps(&fail), steps(&["say", "fine"])] {
        cluster.submit(of_group("nightly", task)).await;
    }
    assert_eq!(clb("wait --group nightly").await.code, Some(1));
    let listed = clb("list --group nightly --state failed").await.stdout;
    assert_eq!(listed.matches("exit 3: no such file").count(), 2, "{listed}");
    let written = clb("logs --group nightly --state failed --stderr").await.stdout;
    assert_eq!(written.lines().filter(|line| *line == "no such file").count(), 2, "{written}");
    let mistyped = clb("retry --group nigthly").await;
    assert!(mistyped.code == Some(5) && mistyped.stderr.contains("\"nightly\""), "{mistyped:?}");
    let preview = clb("retry --group nightly --dry-run").await;
    assert!(preview.stderr.contains("2 tasks would be replayed"), "{preview:?}");

    assert_eq!(clb("retry --group nightly").await.stdout, "2 new tasks, 0 already replayed\n");
    assert_eq!(clb("wait --group nightly").await.code, Some(1), "the replays failed as well");
    let words = argv(&steps(&["say", "mended"]));
    let words: Vec<&str> = words.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let retry = clb(&format!("retry --group nightly --timeout 9 -- {}", words.join(" "))).await;
    assert_eq!(retry.stdout, "2 new tasks, 2 already replayed\n", "{retry:?}");
    let waited = clb("wait --group nightly").await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "all tasks of nightly succeeded\n"));
    let results = clb("results --group nightly").await.stdout;
    assert_eq!((results.lines().count(), results.matches("mended").count()), (3, 2), "{results}");
}
