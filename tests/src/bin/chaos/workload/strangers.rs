//! Callers that die in the middle of what they say. What they sent may be accepted or not, but never half.

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clb_protocol::task::{Number, TaskRequest, Work};
use clb_tests::images::images;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::names::{Space, task_id};
use crate::checker::{End, Expected};
use crate::world::World;

const TASKS: u64 = 200;

/// Lines for a batch; the world knows that they may come.
fn lines(world: &World) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = NEXT.fetch_add(TASKS, Ordering::Relaxed);
    (first..first + TASKS)
        .map(|number| {
            let id = task_id(world.began_ms, Space::Strangers, number);
            let sum = i64::try_from(number).unwrap_or(0);
            let mut request = TaskRequest::new(Work::sleep(0.01, [Number::Integer(sum), Number::Integer(0)]));
            request.id = Some(id);
            request.max_attempts = Some(100);
            let expected = Expected { end: End::Sum(sum), max_attempts: 100, not_before: None };
            world.checker().sent(id, expected);
            json!(request).to_string() + "\n"
        })
        .collect()
}

/// Sends the first half of a batch and hangs up.
pub(crate) async fn breaks_off_a_batch(world: &World, door: u64) -> Result<(), String> {
    let url = world.cluster.doors()[door as usize % 2].url("");
    let address = url.trim_start_matches("http://");
    let body = lines(world);
    let head = format!(
        "POST /api/v1/tasks/batch HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let half = [head.as_bytes(), &body.as_bytes()[..body.len() / 2]].concat();
    connection.write_all(&half).await.map_err(|error| error.to_string())
}

/// Runs the command line with a batch and kills it after a while.
pub(crate) async fn is_killed_in_a_batch(world: &World, after: Duration) -> Result<(), String> {
    let urls = world.cluster.doors().map(|door| door.url("")).join(",");
    let mut command = Command::new(&images().await.clb);
    command.args(["batch", "-", "--wait"]).env("CLB_URL", urls).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = running.stdin.take() {
        let lines = lines(world);
        // It may end before it has read all.
        drop(tokio::time::timeout(after, stdin.write_all(lines.as_bytes())).await);
    }
    tokio::time::sleep(after).await;
    running.kill().await.map_err(|error| error.to_string())
}
