//! Passing on what a command writes while it runs, through lost connections and further attempts.

use std::cell::Cell;
use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::{Kind, MAX_OUTPUT_BYTES, Output};
use clb_client::protocol::{AttemptNo, TaskId};
use clb_client::{Client, OutputStream};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::output::{remark, write};
use super::submit::{result_of, until_ended};
use crate::failure::Failure;

/// How long to wait before asking again for an output that could not be had.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last pieces may take when the task has ended; after that the result has them.
const LAST_PIECES: Duration = Duration::from_millis(500);

/// How much of an attempt's outputs was passed on.
#[derive(Debug, Default)]
struct Shown {
    stdout: Cell<usize>,
    stderr: Cell<usize>,
}

impl Shown {
    fn forget(&self) {
        self.stdout.set(0);
        self.stderr.set(0);
    }
}

/// Passes on both outputs of a task until it has ended, and gives the ended task.
pub(super) async fn follow(client: &Client, task: TaskView) -> Result<TaskView, Failure> {
    let id = task.id;
    if task.kind != Kind::Command {
        return until_ended(client, id).await;
    }
    let mut task = task;
    let mut attempt = task.attempt.unwrap_or(AttemptNo(1));
    let shown = Shown::default();
    let mut is_complete = false;
    while !task.state.has_ended() {
        let mut tail = pin!(tail(client, id, attempt, &shown, is_complete));
        task = tokio::select! {
            ended = until_ended(client, id) => {
                if let Ok(passed) = timeout(LAST_PIECES, &mut tail).await {
                    passed?;
                }
                ended?
            }
            passed = &mut tail => {
                is_complete = passed?;
                client.wait(id, PAUSE).await?
            }
        };
        if let Some(newer) = task.attempt.filter(|newest| *newest > attempt) {
            let worker = task.worker.as_deref().unwrap_or("another worker");
            remark(format!("attempt {attempt} was lost or failed; attempt {newer} runs on {worker}"));
            shown.forget();
            (attempt, is_complete) = (newer, false);
        }
    }
    complete(&task, &shown)?;
    Ok(task)
}

/// Passes on what there is now.
pub(super) async fn print(client: &Client, task: &TaskView) -> Result<(), Failure> {
    if task.state.has_ended() {
        return complete(task, &Shown::default());
    }
    for stream in [OutputStream::Stdout, OutputStream::Stderr] {
        let mut pieces = pin!(client.output(task.id, stream, None, false).await?);
        while let Some(piece) = pieces.next().await {
            pass_on(stream, &piece?)?;
        }
    }
    Ok(())
}

/// Whether all of the attempt's outputs came.
async fn tail(
    client: &Client,
    id: TaskId,
    attempt: AttemptNo,
    shown: &Shown,
    is_complete: bool,
) -> Result<bool, Failure> {
    if is_complete {
        return Ok(true);
    }
    let (stdout, stderr) = tokio::try_join!(
        pipe(client, id, attempt, OutputStream::Stdout, &shown.stdout),
        pipe(client, id, attempt, OutputStream::Stderr, &shown.stderr),
    )?;
    Ok(stdout && stderr)
}

async fn pipe(
    client: &Client,
    id: TaskId,
    attempt: AttemptNo,
    stream: OutputStream,
    shown: &Cell<usize>,
) -> Result<bool, Failure> {
    let Ok(pieces) = client.output(id, stream, Some(attempt), true).await else { return Ok(false) };
    let mut pieces = pin!(pieces);
    let mut known = shown.get();
    if known > MAX_OUTPUT_BYTES {
        // A late reader does not get the middle, so the places do not fit any more.
        remark("the connection was lost for a moment; some of the output may be missing here");
        known = MAX_OUTPUT_BYTES;
    }
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return Ok(false) };
        let fresh = &piece[known.min(piece.len())..];
        known -= piece.len() - fresh.len();
        pass_on(stream, fresh)?;
        shown.set(shown.get() + fresh.len());
    }
    Ok(true)
}

/// What did not come while it ran is in the result.
fn complete(task: &TaskView, shown: &Shown) -> Result<(), Failure> {
    let Some(result) = result_of(task) else { return Ok(()) };
    pass_on(OutputStream::Stdout, rest(&result.stdout, shown.stdout.get()))?;
    pass_on(OutputStream::Stderr, rest(&result.stderr, shown.stderr.get()))
}

fn rest(output: &Output, shown: usize) -> &[u8] {
    match &output.truncated {
        Some(_) if shown > 0 => &[],
        _ => &output.bytes[shown.min(output.bytes.len())..],
    }
}

fn pass_on(stream: OutputStream, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    match stream {
        OutputStream::Stdout => write(bytes),
        OutputStream::Stderr => {
            let mut err = std::io::stderr().lock();
            err.write_all(bytes)?;
            Ok(err.flush()?)
        }
    }
}
