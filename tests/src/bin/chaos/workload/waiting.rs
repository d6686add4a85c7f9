//! Very many tasks that wait all the time, in a pool that is paused. Their names say their numbers, so that nothing
//! need be kept of them but one bit each, while they are counted.

use std::time::Duration;

use clb_protocol::api::{BatchEntry, TaskPage};
use clb_tests::cluster::Door;
use clb_tests::http::Call;
use clb_tests::images::images;
use serde_json::json;

use super::names::{Space, number_of, task_id};
use crate::checker::Violation;
use crate::world::World;

const POOL: &str = "waiting";
const BATCH: u64 = 10_000;
const LIMIT: Duration = Duration::from_mins(3);

/// So many tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting(pub(crate) u64);

impl Waiting {
    /// Submits them.
    pub(crate) async fn fill(self, world: &World) -> Result<(), String> {
        if self.0 == 0 {
            return Ok(());
        }
        let spec = json!({"image": images().await.worker_with_fixture, "workers": 1, "slots": 1}).to_string();
        let path = format!("/api/v1/pools/{POOL}");
        succeeds(world, |door| door.put(&path, spec.clone())).await?;
        succeeds(world, |door| door.post(&format!("{path}/pause"), "")).await?;
        for first in (0..self.0).step_by(BATCH as usize) {
            let lines: String =
                (first..self.0.min(first + BATCH)).map(|number| line(world, number)).collect();
            let call = |door: &Door| {
                let call = Call::new("POST", door.url("/api/v1/tasks/batch")).body(lines.clone());
                call.header("content-type", "application/x-ndjson")
            };
            let entries: Vec<BatchEntry> =
                serde_json::from_slice(&succeeds(world, call).await?).map_err(|error| error.to_string())?;
            if let Some(refused) = entries.iter().find(|entry| !matches!(entry.status, 200 | 201)) {
                return Err(format!("a waiting task was refused: {refused:?}"));
            }
        }
        Ok(())
    }

    /// Looks that each of them is there, once.
    pub(crate) async fn check(self, world: &World) -> Result<(), String> {
        if self.0 == 0 {
            return Ok(());
        }
        let mut is_there = vec![0_u64; (self.0 as usize).div_ceil(64)];
        let (mut found, mut cursor) = (0, None::<String>);
        loop {
            let cursor_of = cursor.as_deref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let path = format!("/api/v1/tasks?pool={POOL}&state=queued&limit=1000{cursor_of}");
            let page: TaskPage = serde_json::from_slice(&succeeds(world, |door| door.get(&path)).await?)
                .map_err(|error| error.to_string())?;
            for task in page.tasks {
                let number = number_of(task.id);
                let (place, bit) = ((number / 64) as usize, 1 << (number % 64));
                if number < self.0 && is_there[place] & bit == 0 {
                    is_there[place] |= bit;
                    found += 1;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if found != self.0 {
            world.found(Violation::WaitingLost { sent: self.0, found });
        }
        Ok(())
    }
}

fn line(world: &World, number: u64) -> String {
    let id = task_id(world.began_ms, Space::Waiting, number);
    let priority = number % 21;
    format!(
        "{{\"id\":\"{id}\",\"kind\":\"sleep\",\"seconds\":0,\"pool\":\"{POOL}\",\"priority\":{priority}}}\n"
    )
}

async fn succeeds(world: &World, call: impl Fn(&Door) -> Call) -> Result<bytes::Bytes, String> {
    let answer = world.insist(0, LIMIT, call).await?;
    if matches!(answer.status, 200 | 201) {
        Ok(answer.body)
    } else {
        Err(format!("{} {}", answer.status, answer.text()))
    }
}
