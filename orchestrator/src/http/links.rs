//! The links that workers and standbys hold to the leader, and the log lines of those without one.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use clb_protocol::link::{
    ContainerIdentity, ContainerRole, HEARTBEAT_MS, LogHandIn, LogReceipt, Misdirected, SILENCE_LIMIT_MS,
    StandbyHello, StandbyOrder, StandbyReport, Welcome, WorkerHello, WorkerReport,
};
use clb_store::Member;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use super::Door;
use super::problem::Refusal;
use crate::clock;
use crate::leader::{Handle, LINK_QUEUE, Message};
use crate::ndjson::line;
use crate::node::Role;
use clb_protocol::Epoch;
use clb_protocol::api::Role as MemberRole;

/// The longest line; a worker's hello may hold many results.
const LINE_LIMIT: usize = 64 << 20;
const SILENCE_LIMIT: Duration = Duration::from_millis(SILENCE_LIMIT_MS);
/// After how long the link of one that says nothing is given up. It counts as down long before.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// Reads NDJSON as it comes.
struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    /// Where the search for the end of the line goes on.
    searched: usize,
}

impl Lines {
    fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line; `None` at the end, or for something that is not as it should be.
    async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                return match serde_json::from_slice(&line) {
                    Ok(message) => Some(message),
                    Err(error) => {
                        tracing::warn!("a link said something that is not understood: {error}");
                        None
                    }
                };
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_LIMIT {
                return None;
            }
            self.buffer.extend_from_slice(&self.body.next().await?.ok()?);
        }
    }
}

fn stream<T: serde::Serialize + Send + 'static>(orders: mpsc::Receiver<T>) -> Response {
    let lines = ReceiverStream::new(orders).ready_chunks(256).map(|orders| {
        let lines: Vec<u8> = orders.iter().flat_map(line).collect();
        Ok::<_, Infallible>(Bytes::from(lines))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// The leader of this process, or the answer that sends the asker to another.
async fn leader(door: &Door) -> Result<(Epoch, Handle), Response> {
    match door.node.led().await {
        Some(Role::Leading(leading)) => Ok((leading.epoch, leading.handle)),
        Some(Role::Following(lease)) => {
            let elsewhere = Misdirected { leader: lease.url };
            Err((StatusCode::MISDIRECTED_REQUEST, Json(elsewhere)).into_response())
        }
        _ => Err(Refusal::no_leader().into_response()),
    }
}

pub(super) async fn worker(State(door): State<Door>, request: Request) -> Response {
    let (_, leader) = match leader(&door).await {
        Ok(leader) => leader,
        Err(elsewhere) => return elsewhere,
    };
    let mut said = Lines::new(request.into_body());
    let Ok(Some(hello)) = timeout(SILENCE_LIMIT, said.next::<WorkerHello>()).await else {
        return Refusal::new(StatusCode::BAD_REQUEST, "A worker's link begins with its hello.")
            .into_response();
    };
    let (orders, outgoing) = mpsc::channel(LINK_QUEUE);
    // Nobody but the leader keeps the sender: a link that it closes, or whose term is over, ends for the worker, too.
    let Some(link) = leader.join(hello, orders).await else { return Refusal::no_leader().into_response() };
    tokio::spawn(async move {
        while let Ok(Some(report)) = timeout(LONGEST_SILENCE, said.next::<WorkerReport>()).await {
            leader.tell(Message::Reported { link, report }).await;
        }
        leader.tell(Message::Closed(link)).await;
    });
    stream(outgoing)
}

pub(super) async fn standby(State(door): State<Door>, request: Request) -> Response {
    let (epoch, leader) = match leader(&door).await {
        Ok(leader) => leader,
        Err(elsewhere) => return elsewhere,
    };
    let mut said = Lines::new(request.into_body());
    let Ok(Some(hello)) = timeout(SILENCE_LIMIT, said.next::<StandbyHello>()).await else {
        return Refusal::new(StatusCode::BAD_REQUEST, "A standby's link begins with its hello.")
            .into_response();
    };
    let (orders, outgoing) = mpsc::channel(LINK_QUEUE);
    let welcome = Welcome {
        epoch,
        leader: door.node.name.clone(),
        port: door.node.options.listen.port(),
        orchestrators: door.node.orchestrators(),
    };
    drop(orders.try_send(StandbyOrder::Welcome(welcome)));
    if !take_in(&door, &leader, &hello).await {
        return Refusal::new(StatusCode::CONFLICT, "A newer link of this standby is open.").into_response();
    }
    tokio::spawn(async move {
        let identity = ContainerIdentity {
            name: hello.member.to_string(),
            id: hello.container.clone(),
            role: ContainerRole::Orchestrator,
        };
        let mut became = MemberRole::Down;
        let mut ping = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
        let mut progress = leader.progress();
        let mut heard_at = Instant::now();
        loop {
            tokio::select! {
                report = timeout_at(heard_at + LONGEST_SILENCE, said.next::<StandbyReport>()) => match report {
                    Ok(Some(report)) => {
                        heard_at = Instant::now();
                        door.node.roster.hear(&hello.member, clock::now());
                        if !report.logs.is_empty() && leader.log(identity.clone(), report.logs).await.is_none() {
                            break;
                        }
                        if report.crashing {
                            became = MemberRole::Stopped;
                        }
                        if report.crashing || report.leaving {
                            break;
                        }
                    }
                    _ => break,
                },
                _ = ping.tick() => if !leader.watchdog().is_overdue() {
                    // One that takes in nothing has enough to hear already.
                    drop(orders.try_send(StandbyOrder::Ping));
                },
                // The term is over: so is the link.
                changed = progress.changed() => if changed.is_err() { break },
            }
        }
        door.node.roster.part(&hello, became);
    });
    stream(outgoing)
}

/// Makes a standby known: here, in the store, and to the workers. Says whether this is its newest link.
async fn take_in(door: &Door, leader: &Handle, hello: &StandbyHello) -> bool {
    if !door.node.roster.join(hello) {
        return false;
    }
    let member = Member {
        name: hello.member.clone(),
        container: hello.container.clone(),
        url: hello.url.clone(),
        public_url: hello.public_url.clone(),
        blueprint: None,
    };
    leader.tell(Message::Member(member)).await;
    leader.tell(Message::Orchestrators(door.node.orchestrators())).await;
    true
}

pub(super) async fn hand_in_logs(State(door): State<Door>, body: Bytes) -> Result<Json<LogReceipt>, Refusal> {
    let hand_in: LogHandIn = serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("Not log lines: {error}")))?;
    let container =
        door.leader()?.log(hand_in.container, hand_in.lines).await.ok_or_else(Refusal::no_leader)?;
    Ok(Json(LogReceipt { container }))
}
