//! How commands end, with a worker that lives on.

use clb_protocol::api::{TaskState, VerdictKind};
use clb_protocol::task::Exit;
use clb_tests::cluster::expect::ran_once;
use clb_tests::cluster::{Cluster, WorkerKind};
use clb_tests::{Setup, command, steps};

use super::{error, lives_on, output, result};

#[tokio::test]
async fn what_is_not_there_or_cannot_be_run_fails_with_a_sentence() {
    let cluster = Cluster::shared().await;
    for (program, sentence) in [
        ("/no/such/program", "there is no program /no/such/program there"),
        ("no-such-program", "there is no program no-such-program in PATH"),
        ("/etc/hosts", "/etc/hosts is not executable"),
    ] {
        let mut task = command(&[program]);
        task.max_attempts = Some(3);
        let task = cluster.end_of(cluster.submit(task).await).await;
        ran_once(&task);
        let (code, message) = error(&task);
        assert_eq!((task.state, code), (TaskState::Failed, "failed"));
        assert!(message.contains(&format!("cannot start: {sentence}")), "{message}");
        assert!(task.result.is_none());
        lives_on(&cluster, &task).await;
    }
}

#[tokio::test]
async fn one_that_closes_its_pipes_is_waited_for() {
    let cluster = Cluster::shared().await;
    let task = steps(&["say", "before", "warn", "why", "close", "say", "after", "exit", "7"]);
    let task = cluster.end_of(cluster.submit(task).await).await;
    let gave = result(&task);
    assert_eq!((gave.exit, &gave.stdout.bytes[..]), (Exit::Code(7), &b"before\n"[..]));
    assert!(error(&task).1.ends_with("exit code 7: why"), "{task:?}");
    lives_on(&cluster, &task).await;
}

#[tokio::test]
async fn one_that_takes_too_long_keeps_what_it_wrote() {
    let cluster = Cluster::shared().await;
    let mut task = steps(&["say", "begun", "wait"]);
    task.timeout = Some(0.5);
    let task = cluster.end_of(cluster.submit(task).await).await;
    let gave = result(&task);
    assert_eq!((error(&task).0, gave.exit), ("timed_out", Exit::Signal(15)));
    assert_eq!(gave.stdout.bytes, b"begun\n");
    let verdict = task.attempts[0].verdict.as_ref().unwrap();
    assert_eq!(verdict.kind, VerdictKind::TimedOut);
    lives_on(&cluster, &task).await;
}

#[tokio::test]
async fn one_that_does_not_want_to_stop_is_killed_after_its_grace() {
    let cluster = Cluster::shared().await;
    let mut task = steps(&["deaf", "say", "deaf", "wait"]);
    task.timeout = Some(1.0);
    let task = cluster.end_of(cluster.submit(task).await).await;
    let gave = result(&task);
    assert_eq!((error(&task).0, gave.exit), ("timed_out", Exit::Signal(9)));
    assert_eq!(gave.stdout.bytes, b"deaf\n");
    assert!(gave.duration > 2.0, "it had no grace: {}", gave.duration);
    lives_on(&cluster, &task).await;
}

#[tokio::test]
async fn one_that_outran_its_timeout_has_all_of_its_grace_before_anything_runs_again() {
    const TAKES_S: f64 = 7.0;
    let setup = Setup::new().workers(1).kind(WorkerKind::WithFixture);
    let cluster = setup.option("CLB_WORKER_STOP_GRACE", 60).start().await;
    let mut task = steps(&["until-asked-to-stop", "pause", "7", "say", "put away", "exit", "0"]);
    (task.timeout, task.max_attempts) = (Some(1.0), Some(2));
    let task = cluster.end_of(cluster.submit(task).await).await;
    let gave = result(&task);
    assert_eq!((error(&task).0, gave.exit), ("timed_out", Exit::Code(0)));
    assert_eq!(gave.stdout.bytes, b"waiting\nput away\n");
    let [first, second] = &task.attempts[..] else { panic!("two attempts: {task:?}") };
    let apart = second.started_at.since(first.started_at);
    assert!(apart.as_secs_f64() >= TAKES_S, "the second began {apart:?} after the first");
    lives_on(&cluster, &task).await;
}

/// The memory of [`one_small_worker`].
const LIMIT: u64 = 64 << 20;

async fn one_small_worker() -> Cluster {
    let setup = Setup::new().workers(1).kind(WorkerKind::WithFixture);
    setup.option("CLB_WORKER_MEMORY", LIMIT).start().await
}

#[tokio::test]
async fn one_that_eats_all_memory_is_killed_alone_and_says_of_what() {
    let cluster = one_small_worker().await;
    let neighbour = cluster.submit(steps(&["say", "here", "await", "/tmp/go"])).await;
    let task = cluster.submit(steps(&["say", "hungry", "eat", "4096"])).await;
    let task = cluster.end_of(task).await;
    let gave = result(&task);
    let oom = gave.oom.unwrap();
    assert_eq!((error(&task).0, oom.limit_bytes), ("oom", Some(LIMIT)));
    assert!(oom.peak_bytes.is_none_or(|peak| (LIMIT / 2..=LIMIT).contains(&peak)), "{oom:?}");
    assert_eq!(gave.stdout.bytes, b"hungry\n");
    assert_eq!(task.attempts[0].verdict.as_ref().unwrap().kind, VerdictKind::Oom);
    let worker = lives_on(&cluster, &task).await;
    super::container_of(&worker).execute(&["/fixture", "write", "/tmp/go", ""]).await.unwrap();
    let neighbour = cluster.end_of(neighbour).await;
    assert_eq!((neighbour.state, neighbour.attempts.len()), (TaskState::Succeeded, 1), "{neighbour:?}");
}

#[tokio::test]
async fn one_that_fails_by_itself_is_not_told_as_out_of_memory_because_its_neighbour_was() {
    let cluster = one_small_worker().await;
    let fails = cluster.submit(steps(&["say", "here", "await", "/tmp/go", "exit", "3"])).await;
    let worker = cluster.worker_of(fails).await;
    let output = cluster.leaders_door().await.get(&format!("/api/v1/tasks/{fails}/output?follow=true"));
    output.open().await.until("here").await;
    let hungry = cluster.end_of(cluster.submit(steps(&["eat", "4096"])).await).await;
    assert_eq!(error(&hungry).0, "oom");
    super::container_of(&worker).execute(&["/fixture", "write", "/tmp/go", ""]).await.unwrap();
    let fails = cluster.end_of(fails).await;
    let gave = result(&fails);
    assert_eq!((error(&fails).0, gave.exit, gave.oom), ("failed", Exit::Code(3), None));
}

#[tokio::test]
async fn one_whose_child_eats_all_memory_says_so_when_it_fails_and_nothing_when_it_succeeds() {
    const CHILD: &[u8] = b"signal: 9 (SIGKILL)\n";
    let cluster = one_small_worker().await;
    let fails = steps(&["child-eats", "4096", "warn", "no child", "exit", "2"]);
    let fails = cluster.end_of(cluster.submit(fails).await).await;
    let gave = result(&fails);
    let (code, message) = error(&fails);
    assert_eq!((gave.exit, &gave.stdout.bytes[..]), (Exit::Code(2), CHILD));
    assert_eq!((code, gave.oom.unwrap().limit_bytes), ("oom", Some(LIMIT)));
    assert!(message.contains("exit code 2, after the kernel killed a process over"), "{message}");
    assert!(message.ends_with(": no child"), "{message}");
    let succeeds = cluster.end_of(cluster.submit(steps(&["child-eats", "4096"])).await).await;
    let gave = result(&succeeds);
    assert_eq!((succeeds.state, &gave.stdout.bytes[..]), (TaskState::Succeeded, CHILD));
    assert_eq!(gave.oom, None);
    let fails = cluster.end_of(cluster.submit(steps(&["exit", "2"])).await).await;
    assert_eq!((error(&fails).0, result(&fails).oom), ("failed", None));
    lives_on(&cluster, &fails).await;
}

#[tokio::test]
async fn a_flood_keeps_its_beginning_and_its_end() {
    let cluster = Cluster::shared().await;
    let task = steps(&["say", "first", "flood", "100", "say", "last"]);
    let task = cluster.end_of(cluster.submit(task).await).await;
    assert_eq!(task.state, TaskState::Succeeded, "{:?}", task.error);
    let dropped = result(&task).stdout.truncated.unwrap().dropped_bytes;
    let line = format!("\n[clb: {dropped} bytes are missing here]\n");
    for door in cluster.doors() {
        let text = door.get(&output(task.id, "")).send().await.text();
        let (head, tail) = text.split_once(&line).unwrap();
        assert!(head.starts_with("first\nxx") && tail.ends_with("xx\nlast\n"));
        assert_eq!((head.len() + tail.len()) as u64 + dropped, (100 << 20) + 12);
    }
    lives_on(&cluster, &task).await;
}
