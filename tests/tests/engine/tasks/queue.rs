//! A queue that is longer than the workers are many: limits, order, cancelling.

use clb_protocol::TaskId;
use clb_protocol::api::{BatchEntry, TaskState, TaskView, VerdictKind};
use clb_tests::cluster::{Cluster, Door};
use clb_tests::http::Answer;
use clb_tests::{SOON, Setup, eventually, sleep};

async fn cancel(door: &Door, task: TaskId) -> Answer {
    door.post(&format!("/api/v1/tasks/{task}/cancel"), "").send().await
}

/// One worker with one slot, which a long task occupies.
async fn busy(queue_limit: u32) -> (Cluster, TaskId) {
    let setup = Setup::new().workers(1).slots(1).option("CLB_QUEUE_LIMIT", queue_limit);
    let cluster = setup.start().await;
    let long = cluster.submit(sleep(600.0)).await;
    cluster.worker_of(long).await;
    (cluster, long)
}

#[tokio::test]
async fn a_full_queue_refuses_more_until_there_is_room() {
    let (cluster, long) = busy(3).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(cluster.submit(sleep(0.0)).await);
    }
    let [one, two] = cluster.doors();
    let batch: Vec<_> = (0..3).map(|_| sleep(0.0)).collect();
    let body = serde_json::to_string(&batch).unwrap();
    let entries: Vec<BatchEntry> = one.post("/api/v1/tasks/batch", body).send().await.json();
    let statuses: Vec<u16> = entries.iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [201, 429, 429]);
    waiting.extend(entries[0].id);
    for door in [&one, &two] {
        let refused = door.submit(&sleep(0.0)).await.unwrap();
        assert_eq!(refused.problem().status, 429);
        assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
    }
    assert_eq!(cancel(&two, long).await.status, 200);
    cluster.all_end_once(&waiting).await;
    let late = cluster.submit(sleep(0.0)).await;
    cluster.ends_once(late).await;
}

#[tokio::test]
async fn tasks_are_cancelled_whether_they_wait_or_run() {
    let (cluster, long) = busy(100).await;
    let waiting = cluster.submit(sleep(0.0)).await;
    let next = cluster.submit(sleep(0.0)).await;
    let [one, two] = cluster.doors();

    let cancelled: TaskView = cancel(&one, waiting).await.json();
    assert_eq!((cancelled.state, cancelled.attempts.len()), (TaskState::Cancelled, 0));
    assert_eq!(cancelled.error.unwrap().code, "cancelled");
    assert_eq!(cancel(&two, waiting).await.problem().status, 409);

    let cancelled = cancel(&two, long).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    cluster.ends_once(next).await;
    let ended = eventually("the attempt has a verdict", SOON, async || {
        let task = cluster.task(long).await;
        let verdict = task.attempts.first().and_then(|attempt| attempt.verdict.clone());
        verdict.map(|verdict| (task.state, verdict.kind)).ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(ended, (TaskState::Cancelled, VerdictKind::Cancelled));
    assert_eq!(cancel(&one, long).await.problem().status, 409);
    assert_eq!(cancel(&one, next).await.problem().status, 409);

    let outcomes = cluster.outcomes().await;
    for task in [waiting, long, next] {
        assert_eq!(outcomes.iter().filter(|outcome| outcome.task.id == task).count(), 1);
    }
    let counts = cluster.view().await.tasks;
    assert_eq!((counts.cancelled, counts.succeeded, counts.queued, counts.running), (2, 1, 0, 0));
}

#[tokio::test]
async fn higher_priorities_go_first_and_equals_in_their_order() {
    let (cluster, long) = busy(100).await;
    let mut tasks = Vec::new();
    for priority in [0, -5, 0, 9, 9, -5] {
        let mut task = sleep(0.0);
        task.priority = Some(priority);
        tasks.push(cluster.submit(task).await);
    }
    assert_eq!(cancel(&cluster.doors()[0], long).await.status, 200);
    cluster.all_end_once(&tasks).await;
    let ended: Vec<TaskId> = cluster.outcomes().await.iter().map(|outcome| outcome.task.id).skip(1).collect();
    let wanted: Vec<TaskId> = [3, 4, 0, 2, 1, 5].into_iter().map(|place: usize| tasks[place]).collect();
    assert_eq!(ended, wanted);
}
