//! What commands write and tell while they run.

use clb_protocol::api::{Progress, TaskState};
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::container_of;
use clb_tests::{SOON, eventually, sleep, steps};

use super::{output, result};

#[tokio::test]
async fn a_line_is_followed_through_the_leader_and_the_standby_while_its_command_runs() {
    let cluster = Cluster::shared().await;
    let go = format!("/tmp/{}", clb_protocol::TaskId::now());
    let id = cluster.submit(steps(&["say", "first", "warn", "oh", "await", &go, "say", "second"])).await;
    let mut followers = Vec::new();
    for door in cluster.doors() {
        followers.push(door.get(&output(id, "?follow=true")).open().await);
        let mut errors = door.get(&output(id, "?follow=true&stream=stderr&attempt=1")).open().await;
        errors.until("oh\n").await;
    }
    for follower in &mut followers {
        assert_eq!(follower.until("\n").await, "first\n");
    }
    for door in cluster.doors() {
        assert_eq!(door.get(&output(id, "")).send().await.text(), "first\n", "what is there now");
    }
    let worker = cluster.worker_of(id).await;
    container_of(&worker).execute(&["/fixture", "write", &go, ""]).await.unwrap();
    for follower in followers {
        assert_eq!(follower.whole().await.unwrap(), b"first\nsecond\n");
    }
    assert_eq!(cluster.end_of(id).await.state, TaskState::Succeeded);
    for door in cluster.doors() {
        assert_eq!(door.get(&output(id, "?follow=true")).send().await.text(), "first\nsecond\n");
    }
}

#[tokio::test]
async fn binary_output_comes_as_it_is() {
    let cluster = Cluster::shared().await;
    let id = cluster.submit(steps(&["bytes", "ff00fe0a61"])).await;
    for door in cluster.doors() {
        let answer = door.get(&output(id, "?follow=true")).send().await;
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        assert_eq!(&answer.body[..], b"\xff\0\xfe\na");
    }
    assert_eq!(result(&cluster.end_of(id).await).stdout.bytes, b"\xff\0\xfe\na");
}

#[tokio::test]
async fn progress_is_shown_and_told_while_its_command_runs() {
    let cluster = Cluster::shared().await;
    let mut events = cluster.doors()[1].get("/api/v1/events?types=task").listen().await;
    let id = cluster.submit(steps(&["say", "::clb progress=0.42 note=half of it", "wait"])).await;
    let told =
        events.until(|event| event.data["id"] == id.to_string() && !event.data["progress"].is_null()).await;
    assert_eq!((&told.data["state"], &told.data["progress"]["fraction"]), (&"running".into(), &0.42.into()));
    let is_told = |progress: Option<Progress>| {
        progress.is_some_and(|it| {
            it.fraction > 0.41 && it.fraction < 0.43 && it.note.as_deref() == Some("half of it")
        })
    };
    eventually("the progress is shown", SOON, async || {
        let task = cluster.task(id).await;
        if is_told(task.progress.clone()) { Ok(()) } else { Err(format!("{task:?}")) }
    })
    .await;
    let [first, second] = cluster.doors();
    let list = first.get("/api/v1/tasks?state=running&limit=100").send().await;
    let list: clb_protocol::api::TaskPage = list.json();
    assert!(list.tasks.into_iter().any(|task| task.id == id && is_told(task.progress)));
    second.post(&format!("/api/v1/tasks/{id}/cancel"), "").send().await;
    let task = cluster.end_of(id).await;
    assert!(task.progress.is_none(), "{task:?}");
}

#[tokio::test]
async fn a_command_that_runs_again_is_followed_into_its_next_attempt() {
    let cluster = Cluster::shared().await;
    let mut task = steps(&["say", "begun", "succeed-in", "2", "say", "done"]);
    task.max_attempts = Some(3);
    let id = cluster.submit(task).await;
    let door = cluster.leaders_door().await;
    let text = door.get(&output(id, "?follow=true")).send().await.text();
    assert!(text.ends_with("begun\ndone\n"), "{text}");
    let task = cluster.end_of(id).await;
    assert_eq!((task.state, task.attempts.len()), (TaskState::Succeeded, 2));
    for (query, whole) in [("?attempt=1", "begun\n"), ("?attempt=2", "begun\ndone\n"), ("", "begun\ndone\n")]
    {
        assert_eq!(door.get(&output(id, query)).send().await.text(), whole, "{query}");
    }
}

#[tokio::test]
async fn what_writes_nothing_or_is_asked_wrongly_is_refused() {
    let cluster = Cluster::shared().await;
    let (asleep, id) = (cluster.submit(sleep(0.0)).await, cluster.submit(steps(&["say", "x"])).await);
    cluster.end_of(id).await;
    for door in cluster.doors() {
        for (task, query, status) in [
            (asleep, "", 409),
            (clb_protocol::TaskId::now(), "", 404),
            (id, "?attempt=2", 404),
            (id, "?stream=x", 422),
            (id, "?follow=1", 422),
            (id, "?lines=1", 422),
        ] {
            let refused = door.get(&output(task, query)).send().await;
            assert_eq!(refused.problem().status, status, "{query}");
        }
    }
}
