//! Standing by: watches the lease and the leader, and takes over when its time is over.
//!
//! The leader's link closes within a millisecond of its death, long before its lease runs out; a
//! leader that then refuses a connection, or says that it simulates a crash, is gone.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clb_core::lease::{self, LeaderSign, LeaseMove};
use clb_protocol::link::{HEARTBEAT_MS, StandbyHello, StandbyReport};
use clb_protocol::{Incarnation, Timestamp};
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

/// Waits until this orchestrator may take the lease; says which epoch must still be the newest.
pub(crate) async fn wait_for_turn(node: &Node) -> clb_protocol::Epoch {
    let mut sign = LeaderSign::None;
    loop {
        let lease = match read_lease(node).await {
            Ok(lease) => lease,
            Err(error) => {
                node.play(Role::Leaderless);
                tracing::warn!("{error}");
                tokio::time::sleep(POLL_EVERY).await;
                continue;
            }
        };
        let seen = lease.as_ref().map(|lease| lease::Lease {
            epoch: lease.epoch,
            holder: lease.holder.clone(),
            expires_at: lease.expires_at,
        });
        match lease::decide(seen.as_ref(), &node.name, sign, Timestamp::now()) {
            LeaseMove::Acquire { seen } => return seen,
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
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_connect() => return LeaderSign::Gone,
        _ => {
            tokio::time::sleep(POLL_EVERY).await;
            return LeaderSign::None;
        }
    };
    match answer.status() {
        http::StatusCode::OK => {}
        http::StatusCode::IM_A_TEAPOT => return LeaderSign::Gone,
        _ => {
            tokio::time::sleep(POLL_EVERY).await;
            return LeaderSign::None;
        }
    }
    let mut heard = answer.into_body();
    let mut heartbeat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
    let mut poll = tokio::time::interval(POLL_EVERY);
    loop {
        tokio::select! {
            frame = heard.frame() => {
                if !matches!(frame, Some(Ok(_))) {
                    node.log(clb_protocol::seed::LEADER_CRASHED);
                    return is_gone(&client, lease).await;
                }
            }
            _ = heartbeat.tick() => drop(say.send(line(&StandbyReport::default()))),
            _ = poll.tick() => match read_lease(node).await {
                Ok(Some(now)) if now.epoch == lease.epoch && now.expires_at > Timestamp::now() => {}
                _ => return LeaderSign::None,
            },
        }
    }
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
