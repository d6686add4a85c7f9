//! Followers when what they follow dies.

use clb_protocol::api::{TaskState, VerdictKind};
use clb_protocol::task::{RetryOn, RetryRequest};
use clb_tests::cluster::expect::{container_of, ran_once};
use clb_tests::cluster::{Cluster, WorkerKind, other_than};
use clb_tests::{Setup, steps};

use super::{error, output, result};

async fn start() -> Cluster {
    Setup::new().workers(2).kind(WorkerKind::WithFixture).start().await
}

#[tokio::test]
async fn when_a_worker_dies_whoever_follows_goes_on_with_the_next_attempt() {
    let cluster = start().await;
    let mut task = steps(&["say", "begun", "await", "/tmp/go", "say", "done"]);
    task.max_attempts = Some(3);
    let id = cluster.submit(task).await;
    let mut follower = cluster.leaders_door().await.get(&output(id, "?follow=true")).open().await;
    follower.until("begun\n").await;
    let dying = cluster.worker_of(id).await;
    container_of(&dying).kill().await;
    let text = follower.until("begun\n\n[clb: attempt 2 on worker-").await;
    assert!(!text.contains(&format!("on {}]", dying.name)), "{text}");
    follower.until("]\nbegun\n").await;
    let worker = cluster.worker_of(id).await;
    container_of(&worker).execute(&["/fixture", "write", "/tmp/go", ""]).await.unwrap();
    assert!(follower.whole().await.unwrap().ends_with(b"]\nbegun\ndone\n"));
    let task = cluster.end_of(id).await;
    assert_eq!((task.state, &result(&task).stdout.bytes[..]), (TaskState::Succeeded, &b"begun\ndone\n"[..]));
    let door = cluster.leaders_door().await;
    let lost = door.get(&output(id, "?attempt=1")).send().await;
    assert_eq!(lost.problem().status, 404, "it died with its worker");
}

#[tokio::test]
async fn where_only_losses_are_repeated_a_command_survives_its_worker_and_fails_once() {
    let cluster = start().await;
    let mut task = steps(&["say", "begun", "await", "/tmp/go", "exit", "7"]);
    task.max_attempts = Some(3);
    task.retry = Some(RetryRequest { on: Some(RetryOn::Loss), ..RetryRequest::default() });
    let id = cluster.submit(task).await;
    let mut follower = cluster.leaders_door().await.get(&output(id, "?follow=true")).open().await;
    follower.until("begun\n").await;
    container_of(&cluster.worker_of(id).await).kill().await;
    follower.until("[clb: attempt 2 on worker-").await;
    follower.until("]\nbegun\n").await;
    let worker = cluster.worker_of(id).await;
    container_of(&worker).execute(&["/fixture", "write", "/tmp/go", ""]).await.unwrap();
    let task = cluster.end_of(id).await;
    let verdicts: Vec<_> = task.attempts.iter().filter_map(|it| it.verdict.as_ref()).collect();
    assert_eq!((task.state, verdicts.len()), (TaskState::Failed, 2), "{task:?}");
    assert_eq!((verdicts[0].kind, verdicts[1].kind), (VerdictKind::Killed, VerdictKind::Failed));
    assert_eq!(verdicts[1].exit_code, Some(7));
    assert!(error(&task).1.starts_with("Only lost attempts are retried"), "{task:?}");
    assert!(task.spec.get().contains(r#""retry":{"on":"loss""#), "{task:?}");
}

#[tokio::test]
async fn when_the_leader_dies_the_stream_breaks_off_and_the_next_one_has_it_all() {
    let cluster = start().await;
    let steps = steps(&["say", "::clb progress=0.5", "say", "begun", "await", "/tmp/go", "say", "done"]);
    let id = cluster.submit(steps).await;
    let view = cluster.view().await;
    let (leader, standby) = (cluster.leader().await, cluster.door_of(other_than(&view.leader)));
    let mut direct = cluster.leaders_door().await.get(&output(id, "?follow=true")).open().await;
    let mut forwarded = standby.get(&output(id, "?follow=true")).open().await;
    direct.until("begun\n").await;
    forwarded.until("begun\n").await;
    leader.kill().await;
    for follower in [direct, forwarded] {
        assert!(follower.whole().await.is_err(), "nobody may take it for the whole");
    }
    cluster.is_led_after(view.epoch).await;
    let mut follower = standby.get(&output(id, "?follow=true")).open().await;
    follower.until("begun\n").await;
    let worker = cluster.worker_of(id).await;
    let running = cluster.task(id).await;
    assert_eq!(running.progress.map(|progress| progress.fraction), Some(0.5), "the new leader knows it too");
    container_of(&worker).execute(&["/fixture", "write", "/tmp/go", ""]).await.unwrap();
    assert_eq!(follower.whole().await.unwrap(), b"::clb progress=0.5\nbegun\ndone\n");
    let task = cluster.end_of(id).await;
    ran_once(&task);
    assert_eq!(task.state, TaskState::Succeeded);
}
