//! Tasks that wait for a time or for their next attempt, and what is said of why they wait and where they run.

use std::time::Duration;

use clb_protocol::api::{Explanation, TaskState, WaitReason};
use clb_protocol::task::{RetryRequest, TaskRequest};
use clb_protocol::{AttemptNo, TaskId, Timestamp};
use clb_tests::cluster::{Cluster, Door, WorkerKind};
use clb_tests::{SOON, Setup, command, eventually, sleep};

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// A task that fails at once.
fn failing() -> TaskRequest {
    TaskRequest { max_attempts: None, ..command(&["/fixture", "exit", "3"]) }
}

async fn explain(door: &Door, task: TaskId) -> Explanation {
    let answer = door.get(&format!("/api/v1/tasks/{task}/explain")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn explained(cluster: &Cluster, task: TaskId, reason: WaitReason) -> Explanation {
    eventually("the task waits for what it should", SOON, async || {
        let explanation = explain(&cluster.leaders_door().await, task).await;
        let found = explanation.waiting.as_ref().map(|waiting| waiting.reason);
        if found == Some(reason) { Ok(explanation) } else { Err(explanation.summary) }
    })
    .await
}

#[tokio::test]
async fn a_task_that_is_put_off_and_one_that_rests_wait_on_under_a_new_leader() {
    let cluster = Setup::new().kind(WorkerKind::WithFixture).start().await;
    let before = cluster.has_two_orchestrators().await;
    let (span, delay) = (Duration::from_secs(15), 12.0);
    let not_before = Timestamp::now() + span;
    let put_off = TaskRequest { not_before: Some(not_before), ..sleep(0.0) };
    let put_off = cluster.submit(put_off).await;
    let retry = RetryRequest { delay: Some(delay), max_attempts: Some(2), ..RetryRequest::default() };
    let resting = cluster.submit(TaskRequest { retry: Some(retry), ..failing() }).await;
    explained(&cluster, resting, WaitReason::Resting).await;
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    let waits = explained(&cluster, put_off, WaitReason::NotBefore).await;
    assert_eq!(waits.waiting.unwrap().until, Some(not_before));
    explained(&cluster, resting, WaitReason::Resting).await;
    assert_eq!(cluster.view().await.tasks.queued, 2);

    let ended = cluster.ends_once(put_off).await;
    assert_eq!(ended.not_before, Some(not_before));
    assert!(ended.started_at.unwrap() >= not_before, "{ended:?}");
    let ended = cluster.end_of(resting).await;
    assert_eq!((ended.state, ended.attempts.len()), (TaskState::Failed, 2), "{ended:?}");
    let rest = ended.attempts[1].started_at.since(ended.attempts[0].ended_at.unwrap());
    assert!(rest >= Duration::from_secs_f64(delay), "it rested {rest:?}: {ended:?}");
}

#[tokio::test]
async fn it_is_explained_why_a_task_waits_where_it_runs_and_how_it_ended() {
    let cluster = Setup::new().workers(1).slots(1).start().await;
    let long = cluster.submit(sleep(600.0)).await;
    cluster.worker_of(long).await;
    let next = cluster.submit(sleep(0.0)).await;
    let last = cluster.submit(sleep(0.0)).await;
    for door in cluster.doors() {
        let waits = explain(&door, last).await;
        let waiting = waits.waiting.unwrap();
        assert_eq!(
            (waits.state, waiting.reason, waiting.ahead),
            (TaskState::Queued, WaitReason::NoFreeSlot, 1)
        );
        assert_eq!(
            waits.summary,
            "Waits for a free slot: the only worker of pool default that takes tasks is full (1 of 1); 1 task \
             goes first."
        );
        assert_eq!((waits.candidates.len(), waits.candidates[0].is_eligible), (1, false));
        let runs = explain(&door, long).await;
        assert_eq!((runs.state, runs.waiting), (TaskState::Running, None));
        let placement = runs.placement.unwrap();
        assert_eq!((placement.worker.as_str(), placement.attempt), ("worker-1", AttemptNo(1)));
        assert!(runs.candidates[0].is_eligible && runs.candidates[0].score.is_some());
        let unknown = door.get(&format!("/api/v1/tasks/{UNKNOWN}/explain")).send().await;
        assert_eq!(unknown.problem().status, 404);
    }
    let cancelled = cluster.doors()[0].post(&format!("/api/v1/tasks/{long}/cancel"), "").send().await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    cluster.all_end_once(&[next, last]).await;
    let ended = explain(&cluster.doors()[1], last).await;
    assert_eq!((ended.state, ended.waiting), (TaskState::Succeeded, None));
    assert_eq!(ended.placement.unwrap().worker, "worker-1");
    assert!(ended.summary.starts_with("Succeeded on worker-1 as attempt 1 after "), "{}", ended.summary);
}
