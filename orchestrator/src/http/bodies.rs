//! The bodies of requests that are on their way: read at the door, counted, and bounded together.
//!
//! What a body takes is counted as it comes and given back when its request is answered, so that a caller who
//! announces much and sends little holds nothing up. Batches may take three quarters of the room: the rest is for
//! single tasks. A request for which there is no room is refused before it is read, its body is thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::problem::Refusal;
use super::{BATCH_LIMIT, Door, TASK_LIMIT, route};

/// The least that leaves room for the largest batch.
pub(crate) const LEAST_IN_FLIGHT: u64 = 2 * BATCH_LIMIT as u64;
/// For how long a body may not come on.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// For how long a body that nobody wants is read, so that its sender comes to read why.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// After so many bytes of one body it is the others' turn: whoever sends faster than it is read would keep everybody
/// else waiting, and heartbeats with them.
const TURN_BYTES: usize = 256 << 10;
const KIB: usize = 1 << 10;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    most: usize,
    held: Arc<AtomicUsize>,
    benches: Arc<Semaphore>,
}

/// The room that one body takes.
#[derive(Debug)]
struct Hold<'a> {
    bodies: &'a Bodies,
    /// What all bodies may take together when this one asks for more.
    most: usize,
    bytes: usize,
}

impl Bodies {
    /// Bodies that may take so many bytes together.
    pub(super) fn new(most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, held: Arc::default(), benches: Arc::new(Semaphore::new(BATCH_LIMIT / KIB)) }
    }

    fn hold(&self, is_batch: bool) -> Hold<'_> {
        Hold { bodies: self, most: if is_batch { self.most / 4 * 3 } else { self.most }, bytes: 0 }
    }

    /// Waits for a turn to take this body apart and to store what is in it, which takes a multiple of its bytes.
    /// As much as one largest batch has is under work at once.
    pub(super) async fn turn(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let share = (bytes / KIB + 1).min(BATCH_LIMIT / KIB);
        self.benches.acquire_many(share as u32).await.map_err(|_| Refusal::no_leader())
    }
}

impl Hold<'_> {
    /// Whether there is room for so many more bytes.
    fn would_fit(&self, bytes: usize) -> bool {
        self.bodies.held.load(Ordering::Relaxed).saturating_add(bytes) <= self.most
    }

    /// Takes room for so many more bytes, if there is any.
    fn grow(&mut self, bytes: usize) -> bool {
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.most);
        let is_there = self.bodies.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        self.bytes += if is_there { bytes } else { 0 };
        is_there
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the body of a request, if there is room for it, and holds the room until the request is answered.
pub(super) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_batch = route(request.extensions()) == "/api/v1/tasks/batch";
    let (parts, mut body) = request.into_parts();
    let mut hold = door.bodies.hold(is_batch);
    let most = if is_batch { BATCH_LIMIT } else { TASK_LIMIT };
    match read(&mut body, most, &mut hold).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(refusal) => {
            drop(hold);
            // One that waits to be asked for its body has not sent it.
            if !parts.headers.contains_key(EXPECT) {
                drop(timeout(DRAIN_LIMIT, drain(body)).await);
            }
            refusal.into_response()
        }
    }
}

async fn read(body: &mut Body, most: usize, hold: &mut Hold<'_>) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced > most {
        return Err(Refusal::too_large());
    }
    if !hold.would_fit(announced) {
        return Err(Refusal::too_many_bodies());
    }
    let (mut whole, mut read) = (Bytes::new(), BytesMut::new());
    let mut turn = Turn::default();
    loop {
        let frame = match timeout(STALL_LIMIT, body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|_| Refusal::cut_off())?,
            Ok(None) => return Ok(if read.is_empty() { whole } else { read.freeze() }),
            Err(_) => {
                return Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "The rest of the request body did not arrive in time.",
                ));
            }
        };
        let Ok(piece) = frame.into_data() else { continue };
        turn.took(piece.len()).await;
        if read.len() + whole.len() + piece.len() > most {
            return Err(Refusal::too_large());
        }
        if !hold.grow(piece.len()) {
            return Err(Refusal::too_many_bodies());
        }
        if read.is_empty() && whole.is_empty() && piece.len() >= announced {
            // All of it at once, as nearly always: it is not copied.
            whole = piece;
            continue;
        }
        if read.capacity() == 0 {
            read.reserve(announced);
        }
        read.extend_from_slice(&std::mem::take(&mut whole));
        read.extend_from_slice(&piece);
    }
}

/// How much of a body was read since the others had theirs.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    async fn took(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= TURN_BYTES {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

async fn drain(mut body: Body) {
    let (mut bytes, mut turn) = (0, Turn::default());
    while let Some(Ok(frame)) = body.frame().await {
        let piece = frame.data_ref().map_or(0, Bytes::len);
        turn.took(piece).await;
        bytes += piece;
        if bytes > 2 * BATCH_LIMIT {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_leave_room_for_single_tasks() {
        let bodies = Bodies::new(100);
        let mut batch = bodies.hold(true);
        assert!(batch.grow(75) && !batch.would_fit(1) && !batch.grow(1));
        let mut single = bodies.hold(false);
        assert!(single.would_fit(25) && single.grow(25) && !single.grow(1));
        drop(batch);
        assert!(single.grow(75));
        drop(single);
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn others_have_their_turns_while_a_body_comes_fast() {
        let turns = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&turns);
        let counter = tokio::spawn(async move {
            loop {
                counting.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let pieces = || {
            let piece = Bytes::from(vec![0; TURN_BYTES]);
            Body::from_stream(futures::stream::iter(
                (0..64).map(move |_| Ok::<_, axum::Error>(piece.clone())),
            ))
        };
        let bodies = Bodies::new(64 * TURN_BYTES as u64);
        read(&mut pieces(), 64 * TURN_BYTES, &mut bodies.hold(false)).await.unwrap();
        assert!(turns.load(Ordering::Relaxed) >= 32, "{turns:?} while it was read");
        turns.store(0, Ordering::Relaxed);
        drain(pieces()).await;
        assert!(turns.load(Ordering::Relaxed) >= 32, "{turns:?} while it was thrown away");
        counter.abort();
    }

    #[tokio::test]
    async fn a_body_that_comes_in_pieces_is_read_whole_and_counted() {
        let bodies = Bodies::new(100);
        let pieces = || futures::stream::iter(["ab", "cd", "e"].map(Ok::<_, std::convert::Infallible>));
        let mut hold = bodies.hold(true);
        assert_eq!(read(&mut Body::from_stream(pieces()), 5, &mut hold).await.unwrap(), "abcde");
        assert_eq!(bodies.held.load(Ordering::Relaxed), 5);
        let mut hold = bodies.hold(true);
        assert!(read(&mut Body::from_stream(pieces()), 4, &mut hold).await.is_err(), "it is too large");
        drop(hold);
        let narrow = Bodies::new(4);
        let mut hold = narrow.hold(false);
        assert!(read(&mut Body::from("abcde"), 5, &mut hold).await.is_err(), "there is no room");
    }
}
