//! Standing by: watches the lease and the leader, and takes over when its time is over.
//!
//! The leader's link closes within a millisecond of its death, long before its lease may be taken; a
//! leader that then refuses a connection, or says that it simulates a crash, is gone. One that speaks on its link
//! lives, however late its beat is.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clb_core::lease::{self, LeaderSign, LeaseMove, Watch};
use clb_door::show_token;
use clb_engine::{Docker, State};
use clb_protocol::link::{HEARTBEAT_MS, SILENCE_LIMIT_MS, StandbyHello, StandbyReport};
use clb_protocol::{Epoch, Incarnation, MemberName};
use clb_store::{Lease, StoreError};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::ndjson::line;
use crate::node::{Node, Role};

/// How long a link may bring nothing.
const SILENCE_LIMIT: Duration = Duration::from_millis(SILENCE_LIMIT_MS);
const POLL_EVERY: Duration = Duration::from_millis(200);
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How often a leader that may be gone is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The lease may be taken.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// The epoch that must still be the newest.
    pub(crate) seen: Epoch,
    /// The lease as it was.
    pub(crate) former: Option<Lease>,
    /// Whether its holder simulates a crash.
    pub(crate) is_stopped: bool,
}

/// What is known of the leader besides its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Nothing speaks against its life.
    None,
    /// It simulates a crash.
    Stopped,
    /// Its process or its container is gone.
    Gone,
}

/// Waits until this orchestrator may take the lease; none comes for one that simulates a crash.
pub(crate) async fn wait_for_turn(node: &Node, docker: &Docker) -> Option<Turn> {
    // Of which term it was: it says nothing of another leader.
    let mut sign = (Epoch(0), Sign::None);
    let mut leader = Observed::new(node.name.clone());
    let mut complaint = String::new();
    loop {
        let lease = match read_lease(node).await {
            Ok(lease) => lease,
            Err(error) => {
                let text = error.to_string();
                node.play(Role::Leaderless { why: Some(text.clone()) });
                if text != complaint {
                    node.journal.write(&text);
                    complaint = text;
                }
                tokio::time::sleep(POLL_EVERY).await;
                continue;
            }
        };
        complaint.clear();
        let is_of = |lease: &Lease| lease.epoch == sign.0;
        let known = if lease.as_ref().is_some_and(is_of) { sign.1 } else { Sign::None };
        let told = if known == Sign::None { LeaderSign::None } else { LeaderSign::Gone };
        if let LeaseMove::Acquire { seen } = leader.observe(lease.as_ref(), told) {
            return Some(Turn { seen, former: lease, is_stopped: known == Sign::Stopped });
        }
        let Some(lease) = lease else { continue };
        node.play(Role::Following(lease.clone()));
        if *node.leaving().borrow() {
            // Nobody is to count on this one any more, but it may turn out to be the last.
            sleep(POLL_EVERY).await;
            sign = (lease.epoch, Sign::None);
            continue;
        }
        sign = (lease.epoch, follow(node, docker, &lease, &mut leader).await);
        if node.is_crashed() {
            return None;
        }
    }
}

/// The watch over the leader, on this process's own clock.
struct Observed {
    watch: Watch,
    since: Instant,
}

impl Observed {
    fn new(me: MemberName) -> Self {
        Self { watch: Watch::new(me), since: Instant::now() }
    }

    fn observe(&mut self, lease: Option<&Lease>, sign: LeaderSign) -> LeaseMove {
        let seen = lease.map(|lease| lease::Lease {
            epoch: lease.epoch,
            holder: lease.holder.clone(),
            is_released: lease.is_released,
            beat: lease.pulse.map(|pulse| pulse.beat),
        });
        self.watch.observe(seen.as_ref(), sign, self.since.elapsed())
    }

    fn hear(&mut self) {
        self.watch.hear(self.since.elapsed());
    }

    fn is_silent(&self) -> bool {
        self.watch.patience(self.since.elapsed()).is_none()
    }
}

/// The lease as it stands.
pub(crate) async fn read_lease(node: &Node) -> Result<Option<Lease>, StoreError> {
    let store = std::sync::Arc::clone(&node.store);
    tokio::task::spawn_blocking(move || store.lease())
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable { detail: error.to_string() }))
}

/// Holds a link to the leader until it ends or the lease changes; says what that means.
async fn follow(node: &Node, docker: &Docker, lease: &Lease, leader: &mut Observed) -> Sign {
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
    let request = http::Request::post(format!("{}/link/v1/standby", lease.url));
    let request = show_token(request, node.options.token.as_deref());
    let Ok(request) = request.body(Body::new(StreamBody::new(said))) else { return Sign::None };
    let answer = match timeout(ANSWER_LIMIT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status() == http::StatusCode::OK => answer,
        Ok(Ok(answer)) if answer.status() == http::StatusCode::IM_A_TEAPOT => return Sign::Stopped,
        answer => {
            let is_refused = matches!(&answer, Ok(Err(error)) if refuses(error));
            if is_refused || has_ended(docker, &node.name, &lease.holder).await {
                return Sign::Gone;
            }
            tokio::time::sleep(POLL_EVERY).await;
            return Sign::None;
        }
    };
    node.journal.write(&format!("Stands by for {}, which leads in epoch {}", lease.holder, lease.epoch));
    if converse(node, lease, leader, answer.into_body(), &say).await == Talk::Ended {
        node.journal.write(clb_protocol::seed::LEADER_CRASHED);
        return last_sign(&client, node, docker, lease, leader).await;
    }
    Sign::None
}

/// Why a conversation with the leader is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// The link ended, though the leader has not given its lease up.
    Ended,
    /// The lease is not the leader's any more.
    LeaseChanged,
    /// Nothing comes over the link any more, though the leader may live: another one is needed.
    Silent,
    /// This orchestrator has nothing more to say.
    Left,
}

/// Hands log lines to the leader and watches its lease.
async fn converse(
    node: &Node,
    lease: &Lease,
    leader: &mut Observed,
    mut heard: hyper::body::Incoming,
    say: &mpsc::UnboundedSender<Bytes>,
) -> Talk {
    let mut heartbeat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
    let mut poll = tokio::time::interval(POLL_EVERY);
    let (mut leaving, mut crashed) = (node.leaving(), node.crashed());
    let mut heard_at = Instant::now();
    // The end of the link is heard on its other side.
    let report = |report: StandbyReport| drop(say.send(line(&report)));
    loop {
        tokio::select! {
            frame = heard.frame() => {
                if matches!(frame, Some(Ok(_))) {
                    heard_at = Instant::now();
                    leader.hear();
                    node.hear(lease.epoch);
                    continue;
                }
                let now = read_lease(node).await;
                let is_held = matches!(now, Ok(Some(now)) if now.epoch == lease.epoch && !now.is_released);
                return if is_held { Talk::Ended } else { Talk::LeaseChanged };
            }
            () = node.journal.has_unsent() => {
                report(StandbyReport { logs: node.journal.take_unsent(), ..StandbyReport::default() });
            }
            _ = leaving.wait_for(|leaving| *leaving) => {
                report(StandbyReport { leaving: true, ..StandbyReport::default() });
                return farewell(heard).await;
            }
            _ = crashed.wait_for(|crashed| *crashed) => {
                report(StandbyReport { crashing: true, ..StandbyReport::default() });
                return farewell(heard).await;
            }
            _ = heartbeat.tick() => {
                if heard_at.elapsed() >= SILENCE_LIMIT {
                    return Talk::Silent;
                }
                report(StandbyReport::default());
            }
            _ = poll.tick() => match read_lease(node).await {
                Ok(Some(now)) if now.epoch == lease.epoch => {
                    if let LeaseMove::Acquire { .. } = leader.observe(Some(&now), LeaderSign::None) {
                        return Talk::LeaseChanged;
                    }
                }
                // Who can read nothing here could not lead either.
                Err(_) if !leader.is_silent() => {}
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

/// Asks a leader whose link ended whether it is still there, until that is known or it was
/// silent for too long.
async fn last_sign(
    client: &Client<HttpConnector, Body>,
    node: &Node,
    docker: &Docker,
    lease: &Lease,
    leader: &Observed,
) -> Sign {
    while !leader.is_silent() {
        let request =
            show_token(http::Request::get(format!("{}/", lease.url)), node.options.token.as_deref());
        let Ok(request) = request.body(Body::empty()) else { break };
        match timeout(ANSWER_LIMIT, client.request(request)).await {
            Ok(Ok(answer)) if answer.status() == http::StatusCode::IM_A_TEAPOT => return Sign::Stopped,
            // It closed the link and lives: it has a reason, or never knew of it.
            Ok(Ok(_)) => return Sign::None,
            Ok(Err(error)) if refuses(&error) => return Sign::Gone,
            _ if has_ended(docker, &node.name, &lease.holder).await => return Sign::Gone,
            _ => sleep(LOOK_EVERY).await,
        }
    }
    Sign::None
}

/// Whether the other machine, or container, answered that nobody listens there. Any other failure may be
/// this side's.
fn refuses(error: &hyper_util::client::legacy::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// Whether the engine, which knows the container of `me`, says that the one of `holder` does not run.
async fn has_ended(docker: &Docker, me: &MemberName, holder: &MemberName) -> bool {
    let Ok(Ok(seen)) = timeout(ANSWER_LIMIT, docker.list()).await else { return false };
    let is_running = |name: &MemberName| {
        let mut own = seen.iter().filter(|it| it.is_orchestrator(name));
        own.any(|it| !it.state.has_ended() && it.state != State::Removing)
    };
    is_running(me) && !is_running(holder)
}
