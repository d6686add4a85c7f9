//! `GET /api/v1/tasks/{id}/output`: what a command writes, while it runs and after.
//!
//! A running attempt's output is with its worker, a finished task's in its stored result. Whoever follows a
//! task is led from the one to the other, and from one attempt to the next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clb_protocol::api::{TaskView, VerdictKind};
use clb_protocol::task::{CommandResult, Kind, OutputStream};
use clb_protocol::{AttemptNo, TaskId};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::Door;
use super::problem::Refusal;
use super::system::{Query, view};
use super::tasks::{find, task_id};
use crate::leader::{Handle, Whereabouts};

/// How many may read at once.
pub(super) const MOST_READERS: usize = 64;
/// A reader that takes nothing for so long has gone away without saying so.
const STALL_LIMIT: Duration = Duration::from_mins(2);
/// How long a worker may be silent when another attempt runs already.
const SUPERSEDED_LIMIT: Duration = Duration::from_secs(5);
/// How long it may be silent when the task has ended: a command that was cancelled may take its time.
const ENDED_LIMIT: Duration = Duration::from_mins(5);
/// An order may reach its worker after the question for its output.
const ORDER_PAUSE: Duration = Duration::from_millis(50);

/// One who reads, and where it stands.
struct Reader {
    door: Door,
    leader: Handle,
    id: TaskId,
    stream: OutputStream,
    follows: bool,
    /// Which attempt it wants; all, one after the other, when it does not say.
    only: Option<AttemptNo>,
    pipe: mpsc::Sender<io::Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

/// What a worker says of an attempt.
enum Opened {
    /// This is what it wrote.
    Body(Box<BodyDataStream>),
    /// Nothing of it is there.
    Unknown,
    /// Nothing.
    Silent,
}

/// Nobody reads any more, or nobody leads any more.
struct Over;

pub(super) async fn show(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let id = task_id(id)?;
    let mut query = Query::parse(query.as_deref())?;
    let stream = match query.text("stream") {
        None => OutputStream::default(),
        Some(name) => OutputStream::named(&name)
            .ok_or_else(|| Refusal::parameter("stream", "must be stdout or stderr"))?,
    };
    let follows = query.switch("follow")?;
    let only = query.whole("attempt", 1, u64::from(u32::MAX))?.map(|attempt| AttemptNo(attempt as u32));
    query.finish()?;
    let task = find(&door, id).await?;
    if task.kind != Kind::Command {
        let detail = format!("A task of kind {} has no output; only commands do.", task.kind.as_str());
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    let permit = Arc::clone(&door.readers).try_acquire_owned().map_err(|_| too_many())?;
    let leader = door.leader()?;
    let (pipe, bytes) = mpsc::channel(1);
    let reader = Reader { door, leader, id, stream, follows, only, pipe, _permit: permit };
    reader.begin(&task).await?;
    let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(ReceiverStream::new(bytes))).into_response())
}

fn too_many() -> Refusal {
    Refusal::too_many(format!("{MOST_READERS} readers are already following outputs; try again later."))
}

fn not_kept() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "The output of this attempt is no longer kept.")
}

impl Reader {
    /// Without an end nobody takes what there is for the whole.
    async fn end_with(&self, done: Result<(), Over>) {
        if done.is_err() {
            drop(self.pipe.send(Err(io::ErrorKind::ConnectionAborted.into())).await);
        }
    }

    /// Finds out where there is something to read, and leaves the reading to a task of its own.
    async fn begin(self, task: &TaskView) -> Result<(), Refusal> {
        let is = self.leader.find(self.id).await.ok_or_else(Refusal::no_leader)?;
        let running = match &is {
            Whereabouts::Running { attempt, .. } => Some(*attempt),
            Whereabouts::Waiting | Whereabouts::Ended => None,
        };
        let newest = running.max(task.attempts.iter().map(|attempt| attempt.attempt).max());
        if self.only > newest {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "There is no such attempt yet."));
        }
        let is_over = task.state.has_ended();
        let goes_on = self.follows && !is_over && (self.only.is_none() || self.only == running);
        if goes_on {
            tokio::spawn(async move { self.end_with(self.follow().await).await });
            return Ok(());
        }
        let Some(attempt) = self.only.or(newest) else { return Ok(()) };
        if let Some(output) = stored(task, attempt, self.stream) {
            tokio::spawn(async move { drop(self.give(output).await) });
            return Ok(());
        }
        let worker = match is {
            Whereabouts::Running { attempt: current, worker } if current == attempt => Some(worker),
            _ => task.attempts.iter().find(|it| it.attempt == attempt).map(|it| it.worker.clone()),
        };
        let follows = is_over && self.follows;
        let opened = match worker {
            Some(worker) => self.open(attempt, &worker, follows).await,
            None => Opened::Unknown,
        };
        if let Opened::Body(body) = opened {
            tokio::spawn(async move { self.end_with(self.pass_on(body, attempt).await).await });
            return Ok(());
        }
        // It may have ended while its worker was asked, who forgets it then.
        let task = find(&self.door, self.id).await?;
        if let Some(output) = stored(&task, attempt, self.stream) {
            tokio::spawn(async move { drop(self.give(output).await) });
            return Ok(());
        }
        match opened {
            // The order to run it is still on its way.
            Opened::Unknown if running == Some(attempt) => Ok(()),
            Opened::Silent if running == Some(attempt) => {
                Err(Refusal::unavailable("The worker running it does not answer; send the request again."))
            }
            _ if wrote_nothing(&task, attempt) => Ok(()),
            _ => Err(not_kept()),
        }
    }

    /// Gives everything from the attempt that runs now, or runs next, to the end of the task.
    async fn follow(&self) -> Result<(), Over> {
        let first = self.only.unwrap_or(AttemptNo(1));
        let (mut from, mut unread) = (first, first);
        loop {
            let is = tokio::select! {
                is = self.leader.find_from(self.id, from) => is.ok_or(Over)?,
                () = self.pipe.closed() => return Err(Over),
            };
            let Whereabouts::Running { attempt, worker } = is else { return self.finish(unread).await };
            if self.only.is_some_and(|only| only < attempt) {
                return Ok(());
            }
            if let Some(body) = self.open_current(attempt, &worker).await? {
                if unread > first {
                    self.give(format!("\n[clb: attempt {attempt} on {worker}]\n").into_bytes()).await?;
                }
                self.pass_on(body, attempt).await?;
                unread = attempt.next();
            }
            if self.only.is_some() && unread > attempt {
                return Ok(());
            }
            // One that came and went before it could be read may have left its output as the task's result.
            from = attempt.next();
        }
    }

    /// What the worker has of the attempt that it is about to run, or runs.
    async fn open_current(
        &self,
        attempt: AttemptNo,
        worker: &str,
    ) -> Result<Option<Box<BodyDataStream>>, Over> {
        loop {
            if let Opened::Body(body) = self.open(attempt, worker, true).await {
                return Ok(Some(body));
            }
            let is = self.leader.find(self.id).await.ok_or(Over)?;
            let is_current =
                matches!(is, Whereabouts::Running { attempt: current, .. } if current == attempt);
            if !is_current {
                return Ok(None);
            }
            tokio::select! {
                () = sleep(ORDER_PAUSE) => {}
                () = self.pipe.closed() => return Err(Over),
            }
        }
    }

    /// Gives what is left of a task that has ended, unless that attempt was read before.
    async fn finish(&self, from: AttemptNo) -> Result<(), Over> {
        let task = find(&self.door, self.id).await.map_err(|_| Over)?;
        let Some(attempt) = task.attempt.filter(|attempt| *attempt >= from) else { return Ok(()) };
        if self.only.is_some_and(|only| only != attempt) {
            return Ok(());
        }
        if let Some(output) = stored(&task, attempt, self.stream) {
            return self.give(output).await;
        }
        if let Some(worker) = &task.worker
            && let Opened::Body(body) = self.open(attempt, worker, true).await
        {
            self.pass_on(body, attempt).await?;
        }
        Ok(())
    }

    /// What the worker has of an attempt.
    async fn open(&self, attempt: AttemptNo, worker: &str, follows: bool) -> Opened {
        let Ok((_, workers)) = view(&self.door).await else { return Opened::Silent };
        let address = workers.into_iter().find(|it| it.name == worker).and_then(|it| it.address);
        let Some(address) = address else { return Opened::Silent };
        let (id, stream) = (self.id, self.stream.as_str());
        let url =
            format!("http://{address}/tasks/{id}/output?attempt={attempt}&stream={stream}&follow={follows}");
        match self.door.forwarder.open(&url, self.door.node.options.token.as_deref()).await {
            Some(answer) if answer.status() == StatusCode::OK => {
                Opened::Body(Box::new(answer.into_body().into_data_stream()))
            }
            Some(answer) if answer.status() == StatusCode::NOT_FOUND => Opened::Unknown,
            Some(_) | None => Opened::Silent,
        }
    }

    /// Passes a worker's bytes on. A worker that says nothing any more is left once its attempt has ended.
    async fn pass_on(&self, mut body: Box<BodyDataStream>, attempt: AttemptNo) -> Result<(), Over> {
        let ended = self.leader.find_from(self.id, attempt.next());
        tokio::pin!(ended);
        let mut limit = None;
        loop {
            let next = tokio::select! {
                next = body.next() => next,
                is = &mut ended, if limit.is_none() => {
                    let has_ended = matches!(is.ok_or(Over)?, Whereabouts::Ended);
                    limit = Some(if has_ended { ENDED_LIMIT } else { SUPERSEDED_LIMIT });
                    continue;
                }
                () = sleep(limit.unwrap_or_default()), if limit.is_some() => return Ok(()),
                () = self.pipe.closed() => return Err(Over),
            };
            match next {
                Some(Ok(bytes)) => self.send(bytes).await?,
                None => return Ok(()),
                // Its worker ended: with the attempt, or after it, which has left its output in the store.
                Some(Err(_)) => {
                    let task = find(&self.door, self.id).await.map_err(|_| Over)?;
                    return stored(&task, attempt, self.stream).map_or(Ok(()), |_| Err(Over));
                }
            }
        }
    }

    async fn give(&self, bytes: Vec<u8>) -> Result<(), Over> {
        if bytes.is_empty() { Ok(()) } else { self.send(bytes.into()).await }
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Over> {
        match timeout(STALL_LIMIT, self.pipe.send(Ok(bytes))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }
}

/// What a task that has ended keeps of an attempt's output.
fn stored(task: &TaskView, attempt: AttemptNo, stream: OutputStream) -> Option<Vec<u8>> {
    let gave = |it: &&clb_protocol::api::AttemptView| {
        it.verdict.as_ref().is_some_and(|verdict| verdict.kind == VerdictKind::Succeeded)
    };
    // A late success of a former attempt is the outcome all the same.
    let giver = task.attempts.iter().find(gave).map(|it| it.attempt).or(task.attempt);
    let result = task.result.as_ref().filter(|_| giver == Some(attempt))?;
    let result: CommandResult = serde_json::from_str(result.get()).ok()?;
    Some(result.output(stream).with_gap())
}

/// Whether an attempt ended without having run its program.
fn wrote_nothing(task: &TaskView, attempt: AttemptNo) -> bool {
    let verdict = task.attempts.iter().find(|it| it.attempt == attempt).and_then(|it| it.verdict.as_ref());
    task.attempt == Some(attempt) && verdict.is_some_and(|verdict| verdict.kind == VerdictKind::Failed)
}
