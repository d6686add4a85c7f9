//! Passing on what a command writes while it runs, through lost connections and further attempts.

mod passage;

use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::api::{TaskView, VerdictKind};
use clb_client::protocol::task::Kind;
use clb_client::protocol::{AttemptNo, TaskId};
use clb_client::{Client, OutputStream};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::output::remark;
use super::submit::{result_of, until_ended};
use crate::failure::Failure;
use passage::{Passage, Reading};

/// How long to wait before asking again for an output that could not be had.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last pieces may take when the task has ended; after that the result has them.
const LAST_PIECES: Duration = Duration::from_millis(500);
/// How long the rest of a mark may be under way: it was sent in one piece.
const REST_OF_A_MARK: Duration = Duration::from_millis(200);

/// What stands where bytes of an output are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gaps {
    /// A line that says so.
    Marked,
    /// Nothing.
    Unmarked,
}

/// How far both outputs of an attempt were passed on.
#[derive(Debug)]
struct Shown {
    stdout: Passage,
    stderr: Passage,
}

/// What following a task came to.
pub(super) struct Followed {
    pub(super) task: TaskView,
    /// Whether something of its outputs could not be passed on.
    pub(super) is_incomplete: bool,
}

impl Shown {
    fn new(gaps: Gaps) -> Self {
        let passage = |stream| Passage::new(stream, gaps == Gaps::Marked);
        Self { stdout: passage(OutputStream::Stdout), stderr: passage(OutputStream::Stderr) }
    }

    fn forget(&self) {
        self.stdout.forget();
        self.stderr.forget();
    }

    /// What did not come while it ran is in the result. Gives whether something is missing.
    fn complete(&self, task: &TaskView, came_to_an_end: bool) -> Result<bool, Failure> {
        if let Some(result) = result_of(task) {
            self.stdout.complete(&result.stdout)?;
            self.stderr.complete(&result.stderr)?;
            return Ok(self.report());
        }
        let may_be_missing = !came_to_an_end && may_have_written(task);
        if may_be_missing {
            remark("the end of the output may be missing: the task has no result");
        }
        Ok(self.report() || may_be_missing)
    }

    /// Says what is missing; gives whether something is.
    fn report(&self) -> bool {
        let (stdout, stderr) = (self.stdout.report(), self.stderr.report());
        stdout || stderr
    }
}

/// Whether the last attempt of a task without a result had a program that ran: a worker that says that it failed has a
/// result of whatever it could start.
fn may_have_written(task: &TaskView) -> bool {
    let verdict = task.attempts.last().and_then(|attempt| attempt.verdict.as_ref());
    task.attempt.is_some() && verdict.is_none_or(|verdict| verdict.kind != VerdictKind::Failed)
}

/// Passes on both outputs of a task until it has ended, and gives the ended task.
pub(super) async fn follow(client: &Client, task: TaskView, gaps: Gaps) -> Result<Followed, Failure> {
    let id = task.id;
    if task.kind != Kind::Command {
        return Ok(Followed { task: until_ended(client, id).await?, is_incomplete: false });
    }
    let mut task = task;
    let mut attempt = task.attempt.unwrap_or(AttemptNo(1));
    let shown = Shown::new(gaps);
    let mut is_complete = false;
    while !task.state.has_ended() {
        let mut tail = pin!(tail(client, id, attempt, &shown, is_complete));
        task = tokio::select! {
            ended = until_ended(client, id) => {
                if let Ok(passed) = timeout(LAST_PIECES, &mut tail).await {
                    is_complete = passed?;
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
            remark(format!("attempt {attempt} was lost or failed; attempt {newer} is running on {worker}"));
            shown.forget();
            (attempt, is_complete) = (newer, false);
        }
    }
    let is_incomplete = shown.complete(&task, is_complete)?;
    Ok(Followed { task, is_incomplete })
}

/// Passes on what there is now. Gives whether something is missing.
pub(super) async fn print(client: &Client, task: &TaskView) -> Result<bool, Failure> {
    let shown = Shown::new(Gaps::Marked);
    if task.state.has_ended() {
        return shown.complete(task, true);
    }
    for (stream, passage) in [(OutputStream::Stdout, &shown.stdout), (OutputStream::Stderr, &shown.stderr)] {
        let mut pieces = pin!(client.output(task.id, stream, None, false).await?);
        let mut reading = Reading::default();
        while let Some(piece) = pieces.next().await {
            passage.take(&mut reading, &piece?)?;
        }
        passage.release(&mut reading)?;
    }
    Ok(shown.report())
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
    passage: &Passage,
) -> Result<bool, Failure> {
    let Ok(pieces) = client.output(id, stream, Some(attempt), true).await else { return Ok(false) };
    let mut pieces = pin!(pieces);
    let mut reading = Reading::default();
    loop {
        let limit = if reading.holds_a_line_end() { REST_OF_A_MARK } else { Duration::MAX };
        match timeout(limit, pieces.next()).await {
            Ok(Some(Ok(piece))) => passage.take(&mut reading, &piece)?,
            Ok(Some(Err(_))) => return Ok(false),
            Ok(None) => break,
            Err(_) => passage.release(&mut reading)?,
        }
    }
    passage.release(&mut reading)?;
    Ok(true)
}
