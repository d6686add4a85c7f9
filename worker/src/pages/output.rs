//! What programs write, while they run and for a while after.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clb_protocol::task::{OutputStream, missing};
use clb_protocol::{AttemptNo, TaskId};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::{Pages, is_ending, refuse};
use crate::run::AttemptKey;
use crate::run::command::{Piece, Read};
use crate::worker::{Desk, DeskClosed};

/// How many may read at once.
pub(super) const MOST_READERS: usize = 64;
/// A reader that takes nothing for so long has gone away without saying so.
const STALL_LIMIT: Duration = Duration::from_mins(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    attempt: AttemptNo,
    #[serde(default)]
    stream: OutputStream,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn show(
    State(pages): State<Pages>,
    id: Result<Path<TaskId>, PathRejection>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Ok(Path(id)) = id else { return unknown() };
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(why) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, why.body_text()),
    };
    let Ok(permit) = Arc::clone(&pages.readers).try_acquire_owned() else {
        return refuse(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{MOST_READERS} readers are already following outputs."),
        );
    };
    let key = (id, wanted.attempt);
    let from_the_start = Read { stream: wanted.stream, from: 0, waits: false };
    let first = match pages.desk.read(key, from_the_start).await {
        Ok(Some(first)) => first,
        Ok(None) => return unknown(),
        Err(DeskClosed) => return is_ending(),
    };
    // What comes later is for those who follow.
    let until = if wanted.follow { u64::MAX } else { first.written };
    let (pipe, bytes) = mpsc::channel(1);
    let reader = Reader { desk: pages.desk, key, stream: wanted.stream, until, pipe, _permit: permit };
    tokio::spawn(reader.read(first));
    let mut answer = Body::new(Bytewise(bytes)).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

fn unknown() -> Response {
    refuse(StatusCode::NOT_FOUND, "Nothing is kept here of such an attempt.".to_owned())
}

/// Reads an output at the speed of whoever wants it.
struct Reader {
    desk: Desk,
    key: AttemptKey,
    stream: OutputStream,
    until: u64,
    pipe: mpsc::Sender<Option<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    async fn read(self, first: Piece) {
        let mut piece = first;
        let mut next = 0;
        loop {
            if piece.at > next && !self.give(missing(piece.at - next)).await {
                return;
            }
            next = piece.next();
            if !piece.bytes.is_empty() && !self.give(piece.bytes).await {
                return;
            }
            if piece.is_last || next >= self.until {
                return drop(self.pipe.send(None).await);
            }
            let read = Read { stream: self.stream, from: next, waits: self.until == u64::MAX };
            let asked = tokio::select! {
                asked = self.desk.read(self.key, read) => asked,
                () = self.pipe.closed() => return,
            };
            // Without the last word the stream breaks off, so that nobody takes it for the whole.
            let Ok(Some(more)) = asked else { return };
            piece = more;
        }
    }

    async fn give(&self, bytes: Vec<u8>) -> bool {
        matches!(timeout(STALL_LIMIT, self.pipe.send(Some(bytes.into()))).await, Ok(Ok(())))
    }
}

/// A body that is whole only when it ends with `None`.
struct Bytewise(mpsc::Receiver<Option<Bytes>>);

impl hyper::body::Body for Bytewise {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|received| match received {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => None,
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }
}
