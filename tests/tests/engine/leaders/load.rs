//! What a leader has to do does not cost it its lease.

use clb_protocol::TaskId;
use clb_protocol::api::{BatchEntry, Explanation};
use clb_protocol::task::TaskRequest;
use clb_tests::cluster::Cluster;
use clb_tests::engine::kill_together;
use clb_tests::{LONG, Setup, eventually, sleep};
use tokio::task::JoinSet;

/// So many that a leader reads them for longer than a silent one is waited for.
const MANY: usize = 300_000;
const BATCH: usize = 10_000;
const CALLERS: usize = 16;
const QUESTIONS: usize = 500;

/// Fills the queue of the pool `default`, which hands out nothing; gives the task that goes last.
async fn fill_queue(cluster: &Cluster) -> TaskId {
    let [door, _] = cluster.doors();
    let paused = door.post("/api/v1/pools/default/pause", "").send().await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    let mut last = None;
    for _ in 0..MANY / BATCH {
        let tasks: Vec<TaskRequest> = (0..BATCH).map(|_| sleep(0.0)).collect();
        let body = serde_json::to_string(&tasks).unwrap();
        let entries: Vec<BatchEntry> = door.post("/api/v1/tasks/batch", body).send().await.json();
        assert!(entries.iter().all(|entry| entry.status == 201));
        last = entries.last().and_then(|entry| entry.id);
    }
    last.expect("there are batches")
}

#[tokio::test]
async fn neither_reading_many_waiting_tasks_nor_explaining_them_deposes_a_leader() {
    let cluster = Setup::new().workers(1).start().await;
    let before = cluster.has_two_orchestrators().await;
    let last = fill_queue(&cluster).await;
    kill_together(&cluster.orchestrators()).await;
    for orchestrator in cluster.orchestrators() {
        orchestrator.start().await;
    }
    let after = eventually("all tasks wait again", LONG, async || {
        let view = cluster.is_led_after(before.epoch).await;
        if view.tasks.queued == MANY as u64 { Ok(view) } else { Err(format!("{:?}", view.tasks)) }
    })
    .await;
    assert_eq!(after.epoch, before.epoch.next(), "the first leader was deposed while it read");

    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let [door, _] = cluster.doors();
        callers.spawn(async move {
            for _ in 0..QUESTIONS {
                let answer = door.get(&format!("/api/v1/tasks/{last}/explain")).send().await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let waiting = answer.json::<Explanation>().waiting.expect("it waits");
                assert_eq!(waiting.ahead, MANY as u64 - 1);
            }
        });
    }
    callers.join_all().await;
    assert_eq!(cluster.view().await.epoch, after.epoch, "the leader was deposed while it explained");
}
