//! The link to the leader: finding it, opening the one request that is the link, and its lines.
//!
//! Nothing here decides which leader to obey or what to say; see `agent`.

mod ask;
mod lines;
mod search;
mod seek;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use clb_protocol::link::WorkerOrder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use lines::Lines;

pub(crate) use seek::{Found, Quest, seek};

/// Lines that wait for the socket; more wait, merged, in the agent.
const WRITES_AHEAD: usize = 2;

/// Why the link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The leader ended it, or its process did: look for a leader again.
    #[error("the leader closed it")]
    Closed,
    /// The connection broke: look for a leader again.
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
    /// The leader's fault: it said something that is no order. Look again, it may have been replaced.
    #[error("the leader said something that is no order: {0}")]
    NotAnOrder(#[source] serde_json::Error),
    /// The leader's fault: a line without an end.
    #[error("the leader sent a line of more than {} MiB", lines::MAX_LINE_BYTES >> 20)]
    LineTooLong,
}

/// An open link.
#[derive(Debug)]
pub(crate) struct Link {
    url: String,
    say: Option<mpsc::Sender<Bytes>>,
    hear: Incoming,
    lines: Lines,
    connection: JoinHandle<()>,
}

impl Link {
    fn new(url: String, say: mpsc::Sender<Bytes>, hear: Incoming, connection: JoinHandle<()>) -> Self {
        Self { url, say: Some(say), hear, lines: Lines::default(), connection }
    }

    /// The base URL of the orchestrator at its other end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next order, waiting for it. Loses nothing when it is dropped while waiting.
    pub(crate) async fn hear(&mut self) -> Result<WorkerOrder, LinkError> {
        loop {
            if let Some(order) = self.heard()? {
                return Ok(order);
            }
            match self.hear.frame().await {
                None => return Err(LinkError::Closed),
                Some(Err(error)) => return Err(LinkError::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.feed(&bytes);
                    }
                }
            }
        }
    }

    /// The next order of those that have arrived already.
    pub(crate) fn heard(&mut self) -> Result<Option<WorkerOrder>, LinkError> {
        match self.lines.next()? {
            None => Ok(None),
            Some(line) => serde_json::from_slice(&line).map(Some).map_err(LinkError::NotAnOrder),
        }
    }

    /// Whether a line can be handed over without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.say.as_ref().is_some_and(|say| say.capacity() > 0)
    }

    /// The worker's side, to wait for room with [`room`]; none once it is finished.
    pub(crate) fn writer(&self) -> Option<Writer> {
        self.say.clone().map(Writer)
    }

    /// Hands over a line; `false` when there was no room.
    pub(crate) fn say(&self, line: Bytes) -> bool {
        self.say.as_ref().is_some_and(|say| say.try_send(line).is_ok())
    }

    /// Ends the worker's side: the leader hears everything that was said and then the end.
    pub(crate) fn finish(&mut self) {
        self.say = None;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The worker's side of a link.
#[derive(Debug)]
pub(crate) struct Writer(mpsc::Sender<Bytes>);

/// Waits until a line can be handed over; for ever where there is no link, or no longer one: its end
/// is heard with [`Link::hear`].
pub(crate) async fn room(writer: Option<Writer>) {
    let has_room = match &writer {
        Some(Writer(say)) => say.reserve().await.is_ok(),
        None => false,
    };
    if !has_room {
        std::future::pending::<()>().await;
    }
}

/// One line of NDJSON.
pub(crate) fn line_of(buffer: &mut BytesMut, message: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    buffer.clear();
    buffer.reserve(LINE_BYTES);
    serde_json::to_writer(buffer.writer(), message)?;
    buffer.put_u8(b'\n');
    Ok(buffer.split().freeze())
}

/// Room for the results of some dozens of tasks.
const LINE_BYTES: usize = 8 * 1024;
/// How long an answer to the request may take; an orchestrator without a leader holds it for 5 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(7);
/// How long finding an address may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection may take to stand.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
