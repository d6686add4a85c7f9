//! Standing by: watches the lease and the leader, and takes over when its time is over.
//!
//! The leader's link closes within a millisecond of its death, long before its lease runs out; a
//! leader that then refuses a connection, or says that it simulates a crash, is gone.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clb_core::lease::{self, LeaderSign, LeaseMove};
use clb_protocol::link::{HEARTBEAT_MS, StandbyHello, StandbyReport};
use clb_protocol::{Epoch, Incarnation, Timestamp};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::node::{Node, Role};
use crate::store::{Lease, StoreError};

const POLL_EVERY: Duration = Duration::from_millis(200);
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// The lease may be taken.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// The epoch that must still be the newest.
    pub(crate) seen: Epoch,
    /// The lease as it was.
    pub(crate) former: Option<Lease>,
}

/// Waits until this orchestrator may take the lease.
pub(crate) async fn wait_for_turn(node: &Node) -> Turn {
    let mut sign = LeaderSign::None;
    let mut complaint = String::new();
    loop {
        let lease = match read_lease(node).await {
            Ok(lease) => lease,
            Err(error) => {
                node.play(Role::Leaderless);
                let text = error.to_string();
                if text != complaint {
                    node.journal.write(&text);
                    complaint = text;
                }
                tokio::time::sleep(POLL_EVERY).await;
                continue;
            }
        };
        complaint.clear();
        let seen = lease.as_ref().map(|lease| lease::Lease {
            epoch: lease.epoch,
            holder: lease.holder.clone(),
            expires_at: lease.expires_at,
        });
        match lease::decide(seen.as_ref(), &node.name, sign, Timestamp::now()) {
            LeaseMove::Acquire { seen } => return Turn { seen, former: lease },
            LeaseMove::WaitUntil(_) => {}
        }
        let Some(lease) = lease else { continue };
        node.play(Role::Following(lease.clone()));
        sign = follow(node, &lease).await;
    }
}

async fn read_lease(node: &Node) -> Result<Option<Lease>, StoreError> {
    let store = std::sync::Arc::clone(&node.store);
    tokio::task::spawn_blocking(move || store.lease())
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable { detail: error.to_string() }))
}

/// Holds a link to the leader until it ends or the lease changes; says what that means.
async fn follow(node: &Node, lease: &Lease) -> LeaderSign {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let (say, lines) = mpsc::unbounded_channel::<Bytes>();
    let hello = StandbyHello {
        member: node.name.clone(),
        incarnation: Incarnation(uuid::Uuid::now_v7()),
        container: node.identity.id.clone(),
        url: node.options.advertise.clone(),
        public_url: node.options.public_url.clone(),
    };
    drop(say.send(line(&hello)));
    let said =
        UnboundedReceiverStream::new(lines).map(|line| Ok::<_, std::convert::Infallible>(Frame::data(line)));
    let mut request = http::Request::post(format!("{}/link/v1/standby", lease.url));
    if let Some(token) = &node.options.token {
        request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let Ok(request) = request.body(Body::new(StreamBody::new(said))) else { return LeaderSign::None };
    let answer = match timeout(ANSWER_LIMIT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status() == http::StatusCode::OK => answer,
        Ok(Ok(answer)) if answer.status() == http::StatusCode::IM_A_TEAPOT => return LeaderSign::Gone,
        Ok(Err(error)) if error.is_connect() => return LeaderSign::Gone,
        _ => {
            tokio::time::sleep(POLL_EVERY).await;
            return LeaderSign::None;
        }
    };
    node.journal.write(&format!("Stands by for {}, which leads in epoch {}", lease.holder, lease.epoch));
    if converse(node, lease, answer.into_body(), &say).await == Talk::Ended {
        node.journal.write(clb_protocol::seed::LEADER_CRASHED);
        return is_gone(&client, lease).await;
    }
    LeaderSign::None
}

/// Why a conversation with the leader is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// The link ended, though the leader has not given its lease up.
    Ended,
    /// The lease is not the leader's any more.
    LeaseChanged,
    /// This orchestrator has nothing more to say.
    Left,
}

/// Hands log lines to the leader and watches its lease.
async fn converse(
    node: &Node,
    lease: &Lease,
    mut heard: hyper::body::Incoming,
    say: &mpsc::UnboundedSender<Bytes>,
) -> Talk {
    let mut heartbeat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
    let mut poll = tokio::time::interval(POLL_EVERY);
    let (mut leaving, mut crashed) = (node.leaving(), node.crashed());
    loop {
        tokio::select! {
            frame = heard.frame() => {
                if !matches!(frame, Some(Ok(_))) {
                    let now = read_lease(node).await;
                    let is_held = matches!(now, Ok(Some(now)) if now.epoch == lease.epoch && !now.is_released());
                    return if is_held { Talk::Ended } else { Talk::LeaseChanged };
                }
            }
            () = node.journal.has_unsent() => {
                drop(say.send(line(&StandbyReport { logs: node.journal.take_unsent(), ..StandbyReport::default() })));
            }
            _ = leaving.wait_for(|leaving| *leaving) => {
                drop(say.send(line(&StandbyReport { leaving: true, ..StandbyReport::default() })));
                return farewell(heard).await;
            }
            _ = crashed.wait_for(|crashed| *crashed) => {
                drop(say.send(line(&StandbyReport { crashing: true, ..StandbyReport::default() })));
                return farewell(heard).await;
            }
            _ = heartbeat.tick() => drop(say.send(line(&StandbyReport::default()))),
            _ = poll.tick() => match read_lease(node).await {
                Ok(Some(now)) if now.epoch == lease.epoch && now.expires_at > Timestamp::now() => {}
                _ => return Talk::LeaseChanged,
            },
        }
    }
}

/// The leader ends the link once it has heard the last words.
async fn farewell(mut heard: hyper::body::Incoming) -> Talk {
    while let Some(Ok(_)) = heard.frame().await {}
    Talk::Left
}

/// Asks a leader whose link ended whether it is still there.
async fn is_gone(client: &Client<HttpConnector, Body>, lease: &Lease) -> LeaderSign {
    let Ok(request) = http::Request::get(format!("{}/", lease.url)).body(Body::empty()) else {
        return LeaderSign::None;
    };
    match timeout(ANSWER_LIMIT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status() != http::StatusCode::IM_A_TEAPOT => LeaderSign::None,
        Ok(_) => LeaderSign::Gone,
        Err(_) => LeaderSign::None,
    }
}

/// One line of NDJSON.
pub(crate) fn line(message: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
