//! Nothing of a command outlives its task.

use clb_protocol::TaskId;
use clb_protocol::api::TaskState;
use clb_tests::cluster::Cluster;
use clb_tests::{SOON, eventually, steps};

use super::{lives_on, output, processes, result};

#[tokio::test]
async fn children_that_it_detached_are_gone_when_it_has_ended() {
    let cluster = Cluster::shared().await;
    let mark = TaskId::now().to_string();
    let task = steps(&["detach", &mark, "detach", &mark, "say", "done"]);
    let task = cluster.end_of(cluster.submit(task).await).await;
    assert_eq!((task.state, &result(&task).stdout.bytes[..]), (TaskState::Succeeded, &b"done\n"[..]));
    let worker = lives_on(&cluster, &task).await;
    assert!(!processes(&worker).await.contains(&mark));
}

#[tokio::test]
async fn one_that_is_cancelled_while_it_runs_leaves_no_process_and_keeps_its_output() {
    let cluster = Cluster::shared().await;
    let mark = TaskId::now().to_string();
    let id = cluster.submit(steps(&["detach", &mark, "bytes", "ff000a", "say", "begun", "wait"])).await;
    let [first, second] = cluster.doors();
    let mut follower = first.get(&output(id, "?follow=true")).open().await;
    follower.until("begun\n").await;
    let worker = cluster.worker_of(id).await;
    assert!(processes(&worker).await.contains(&mark));
    let cancelled = second.post(&format!("/api/v1/tasks/{id}/cancel"), "").send().await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    // Its children do not stop by themselves.
    assert_eq!(follower.whole().await.unwrap(), b"\xff\0\nbegun\n");
    let task = eventually("what it wrote is its result", SOON, async || {
        let task = cluster.task(id).await;
        if task.result.is_some() { Ok(task) } else { Err(format!("{task:?}")) }
    })
    .await;
    assert_eq!(
        (task.state, &result(&task).stdout.bytes[..]),
        (TaskState::Cancelled, &b"\xff\0\nbegun\n"[..])
    );
    assert_eq!(task.error.as_ref().map(|error| error.code.as_str()), Some("cancelled"));
    assert!(!processes(&worker).await.contains(&mark));
    let outcomes = cluster.outcomes().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.task.id == id).count(), 1);
    lives_on(&cluster, &task).await;
}
