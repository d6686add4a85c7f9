//! Many of the largest bodies at once: they are refused before they take more memory than there is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clb_protocol::api::BatchEntry;
use clb_tests::cluster::{Door, other_than};
use clb_tests::{LONG, Setup, command, eventually, sleep};
use futures::future::join_all;

const TASKS: usize = 10_000;
/// Ten thousand of them come to 30 MiB.
const STDIN_BYTES: usize = 3_080;
const AT_THE_LEADER: usize = 24;
const AT_THE_STANDBY: usize = 6;
const PATIENCE: Duration = Duration::from_mins(2);

/// The same ten thousand tasks each time, so that the store has to take them once only.
fn batch() -> Bytes {
    let stdin = "x".repeat(STDIN_BYTES);
    let tasks = (0..TASKS).map(|_| {
        let mut task = serde_json::to_value(command(&["true"])).unwrap();
        task["stdin"] = stdin.clone().into();
        task.to_string()
    });
    Bytes::from(format!("[{}]", tasks.collect::<Vec<_>>().join(",")))
}

/// Sends a batch until it is taken; says whether it was refused before.
async fn is_refused_first(door: Door, batch: Bytes) -> bool {
    let mut is_refused = false;
    eventually("the batch is taken", 4 * LONG, async || {
        let answer = door.post("/api/v1/tasks/batch", batch.clone()).within(PATIENCE).try_send().await?;
        if answer.status == 503 {
            is_refused = true;
            let detail = answer.problem().detail;
            assert!(answer.headers.contains_key("retry-after"), "{detail}");
            assert!(detail.contains("CLB_BODIES_IN_FLIGHT"), "{detail}");
            return Err(detail);
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entries: Vec<BatchEntry> = answer.json();
        assert!(entries.len() == TASKS && entries.iter().all(|entry| matches!(entry.status, 200 | 201)));
        Ok(())
    })
    .await;
    is_refused
}

#[tokio::test]
async fn a_flood_of_large_batches_kills_nobody_and_shuts_no_single_task_out() {
    let cluster = Setup::new().workers(1).start().await;
    let paused = cluster.command("/api/v1/pools/default/pause").await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    let leader = cluster.view().await.leader;
    let (at_leader, at_standby) = (cluster.door_of(leader.as_str()), cluster.door_of(other_than(&leader)));
    let orchestrators = cluster.orchestrators();
    let mut started_at = Vec::new();
    for orchestrator in &orchestrators {
        started_at.push(orchestrator.inspect().await.state.started_at);
    }
    let batch = batch();
    assert!(batch.len() > 30 << 20 && batch.len() < 32 << 20, "{} bytes", batch.len());

    let is_over = AtomicBool::new(false);
    let flood = async {
        let doors = [(&at_leader, AT_THE_LEADER), (&at_standby, AT_THE_STANDBY)];
        let doors = doors.into_iter().flat_map(|(door, count)| std::iter::repeat_n(door.clone(), count));
        let refused = join_all(doors.map(|door| is_refused_first(door, batch.clone()))).await;
        is_over.store(true, Ordering::Relaxed);
        refused.into_iter().filter(|is_refused| *is_refused).count()
    };
    let singles = async {
        while !is_over.load(Ordering::Relaxed) {
            let answer = at_leader.submit(&sleep(0.0)).await.unwrap();
            assert_eq!(answer.status, 201, "a single task was shut out: {}", answer.text());
        }
    };
    let (refused, ()) = tokio::join!(flood, singles);
    assert!(refused > 0, "there was room for all of them: the test shows nothing");
    for (orchestrator, started_at) in orchestrators.iter().zip(started_at) {
        assert_eq!(
            orchestrator.inspect().await.state.started_at,
            started_at,
            "{} was killed",
            orchestrator.id()
        );
    }
}
