//! A standby answers everything by asking the leader; without a leader a request waits for one.
//!
//! A leader that is gone, stopped, fenced or silent is the standby's affair and not the caller's: what it did
//! not answer goes to the next one, for as long as callers wait for a leader. A request is sent on once: an
//! orchestrator that gets one from another and does not lead says so.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clb_protocol::Epoch;
use clb_protocol::api::{ClusterView, WorkerView};
use clb_store::Lease;
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::forward_limits::{ForwardLimits, ForwardPermit};
use super::forwarded::{Forwarded, is_repeatable, may_take_long, rest_of_wait};
use super::problem::{NotLed, Refusal};
use super::{Door, parameters, route};
use crate::node::{LEADER_WAIT, Node, Role};

/// How long a page waits for what the leader says.
const STANDING_LIMIT: Duration = Duration::from_secs(1);

/// For how long a connection is kept on which nothing is asked.
const IDLE_LIMIT: Duration = Duration::from_millis(900);
/// How often a leader that refuses is asked again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a worker may take to begin its answer.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Sends requests on to a leader.
#[derive(Clone)]
pub(super) struct Forwarder {
    client: Client<HttpConnector, Body>,
    limits: ForwardLimits,
}

impl Forwarder {
    /// To a leader that takes so many connections.
    pub(super) fn new(connections: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        // Shorter than the other side keeps a connection on which nothing is asked.
        client.pool_idle_timeout(IDLE_LIMIT).pool_timer(TokioTimer::new());
        Self { client: client.build(connector), limits: ForwardLimits::for_leader_with(connections) }
    }

    /// How things stand, as the leader at `url` says; `None` when it does not say so soon.
    pub(super) async fn standing(
        &self,
        url: &str,
        token: Option<&str>,
    ) -> Option<(ClusterView, Vec<WorkerView>)> {
        let _permit = self.limits.enter(false)?;
        let ask = async {
            Some((
                self.get(&format!("{url}/api/v1/cluster"), token).await?,
                self.get(&format!("{url}/api/v1/workers"), token).await?,
            ))
        };
        timeout(STANDING_LIMIT, ask).await.ok()?
    }

    async fn get<T: DeserializeOwned>(&self, url: &str, token: Option<&str>) -> Option<T> {
        let answer = self.client.request(get(url, token)?).await.ok()?;
        serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    /// What somebody at this address answers, its body as it comes.
    pub(super) async fn open(&self, url: &str, token: Option<&str>) -> Option<Response> {
        let asked = self.client.request(get(url, token)?);
        Some(timeout(OPEN_LIMIT, asked).await.ok()?.ok()?.map(Body::new))
    }

    /// Sends a request to a leader.
    async fn send(&self, request: http::Request<Bytes>) -> Result<Response, Setback> {
        match self.client.request(request.map(Body::from)).await {
            Ok(answer) if answer.status() == StatusCode::IM_A_TEAPOT => Err(Setback::Refused),
            Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => Err(Setback::Misdirected),
            Ok(answer) => Ok(answer.map(Body::new)),
            Err(error) if error.is_connect() => Err(Setback::Refused),
            Err(_) => Err(Setback::Lost),
        }
    }
}

fn get(url: &str, token: Option<&str>) -> Option<Request> {
    clb_door::show_token(Request::get(url), token).body(Body::empty()).ok()
}

/// Why a leader did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setback {
    /// It is not there, or simulates a crash.
    Refused,
    /// It leads no more; its term may have ended when the request was done and not answered.
    Misdirected,
    /// It said nothing, or not all: it may have done the request.
    Lost,
}

/// Lets a request through where this orchestrator leads, and forwards it otherwise.
pub(super) async fn to_leader(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = parameters::check(&request) {
        return refusal.into_response();
    }
    let forwarded = Forwarded::read(request.headers());
    let is_led = matches!(door.node.role(), Role::Leading(_));
    match forwarded {
        Some(forwarded) if is_led => {
            request.extensions_mut().insert(forwarded);
            misdirected_unless_led(next.run(request).await)
        }
        Some(_) => misdirected(),
        None if is_led && !is_repeatable(request.method(), route(request.extensions())) => {
            next.run(request).await
        }
        None => match Errand::new(door, request).await {
            Ok(errand) if is_led => errand.run_here_first(next).await,
            Ok(errand) => errand.run(next).await,
            Err(refusal) => refusal.into_response(),
        },
    }
}

/// Tells another orchestrator that somebody else leads, if anybody does.
fn misdirected() -> Response {
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, "This orchestrator does not lead; ask another.")
        .into_response()
}

fn misdirected_unless_led(answer: Response) -> Response {
    if is_led(&answer) { answer } else { misdirected() }
}

fn is_led(answer: &Response) -> bool {
    answer.extensions().get::<NotLed>().is_none()
}

/// A request on its way to whoever leads.
struct Errand {
    door: Door,
    request: http::Request<Bytes>,
    forwarded: Forwarded,
    is_repeatable: bool,
    may_take_long: bool,
    begun_at: Instant,
    /// Its place among those that are forwarded, from the first leader that it is put to.
    permit: Option<ForwardPermit>,
}

impl Errand {
    async fn new(door: Door, request: Request) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let body = if body.is_end_stream() {
            Bytes::new()
        } else {
            body.collect().await.map_err(|_| Refusal::cut_off())?.to_bytes()
        };
        let route = route(&parts.extensions);
        Ok(Self {
            forwarded: Forwarded::now(),
            is_repeatable: is_repeatable(&parts.method, route),
            may_take_long: may_take_long(&parts.method, route, parts.uri.query()),
            begun_at: Instant::now(),
            permit: None,
            request: http::Request::from_parts(parts, body),
            door,
        })
    }

    /// Does it in the term that this orchestrator leads, and goes on to the next leader when that ends meanwhile. One
    /// that is about to exit has no time for that.
    async fn run_here_first(mut self, next: Next) -> Response {
        let answer = next.clone().run(self.for_here()).await;
        if is_led(&answer) || self.door.node.is_leaving() {
            return answer;
        }
        self.forwarded.is_again = true;
        self.run(next).await
    }

    /// Waits for a leader that answers, but not for long.
    async fn run(mut self, next: Next) -> Response {
        let mut roles = self.door.node.roles();
        let mut until = Instant::now() + LEADER_WAIT;
        let mut led = None;
        loop {
            let role = roles.borrow_and_update().clone();
            match &role {
                Role::Leading(leading) => {
                    self.permit = None;
                    let answer = next.clone().run(self.for_here()).await;
                    if is_led(&answer) {
                        return answer;
                    }
                    self.forwarded.is_again = true;
                    if led.replace(leading.epoch) != Some(leading.epoch) {
                        // It may have waited here for long.
                        until = Instant::now() + LEADER_WAIT;
                    }
                }
                Role::Following(_) if !self.enters() => return Refusal::too_many_forwarded().into_response(),
                Role::Following(lease) => match self.put_to(lease, &mut until).await {
                    Ok(answer) => {
                        return followed(Arc::clone(&self.door.node), lease.epoch, self.permit, answer);
                    }
                    Err(Setback::Refused) => {}
                    Err(Setback::Misdirected) => self.forwarded.is_again = true,
                    Err(Setback::Lost) if self.is_repeatable => {
                        self.forwarded.is_again = true;
                        until = self.patience(lease.epoch).map_or(until, |patience| patience.max(until));
                    }
                    Err(Setback::Lost) => return Refusal::unanswered().into_response(),
                },
                Role::Crashed => {
                    return (StatusCode::IM_A_TEAPOT, clb_protocol::seed::TEAPOT).into_response();
                }
                Role::Leaderless { .. } => {}
            }
            if Instant::now() >= until {
                return given_up(&role, self.forwarded.is_again).into_response();
            }
            // One that refuses may lead again in a moment.
            drop(timeout_at(until.min(Instant::now() + LOOK_EVERY), roles.changed()).await);
        }
    }

    /// Takes a place among those that are forwarded, if it has none and there is one.
    fn enters(&mut self) -> bool {
        if self.permit.is_none() {
            self.permit = self.door.forwarder.limits.enter(self.may_take_long);
        }
        self.permit.is_some()
    }

    /// What the leader answers. Whoever has a reason to take long may take it while the leader is heard.
    async fn put_to(&self, lease: &Lease, until: &mut Instant) -> Result<Response, Setback> {
        let mut request = self.copy();
        self.forwarded.write(request.headers_mut());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("{}{path}", lease.url).parse().map_err(|_| Setback::Refused)?;
        let mut answer = pin!(self.door.forwarder.send(request));
        let mut succeeded = pin!(self.door.node.until_not_following(lease.epoch));
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = &mut succeeded => return Err(Setback::Lost),
                () = sleep_until(*until) => match self.patience(lease.epoch) {
                    Some(later) if later > *until => *until = later,
                    _ => return Err(Setback::Lost),
                },
            }
        }
    }

    /// Until when a request with a reason to take long waits for the leader of this term.
    fn patience(&self, epoch: Epoch) -> Option<Instant> {
        self.door.node.heard_at(epoch).filter(|_| self.may_take_long).map(|at| at + LEADER_WAIT)
    }

    /// The request for the handlers of this orchestrator.
    fn for_here(&self) -> Request {
        let mut request = self.copy().map(Body::from);
        request.extensions_mut().insert(self.forwarded);
        request
    }

    fn copy(&self) -> http::Request<Bytes> {
        let mut copy = self.request.clone();
        if self.forwarded.is_again
            && let Some(uri) = rest_of_wait(copy.uri(), self.begun_at.elapsed())
        {
            *copy.uri_mut() = uri;
        }
        copy
    }
}

fn given_up(role: &Role, is_lost: bool) -> Refusal {
    match role {
        Role::Leaderless { why } => Refusal::leaderless(why.as_deref()),
        _ if is_lost => Refusal::unanswered(),
        _ => Refusal::no_leader(),
    }
}

/// An answer whose body breaks off when its leader falls silent; it has its place until it has been read.
fn followed(node: Arc<Node>, epoch: Epoch, permit: Option<ForwardPermit>, answer: Response) -> Response {
    answer.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::from_stream(stream::unfold(
            (node, body.into_data_stream(), permit),
            move |(node, mut body, permit)| async move {
                let piece = next_piece(&node, epoch, &mut body).await?;
                Some((piece, (node, body, permit)))
            },
        ))
    })
}

async fn next_piece(
    node: &Node,
    epoch: Epoch,
    body: &mut BodyDataStream,
) -> Option<Result<Bytes, axum::Error>> {
    let mut until = Instant::now() + LEADER_WAIT;
    loop {
        if let Ok(piece) = timeout_at(until, body.next()).await {
            return piece;
        }
        match node.heard_at(epoch) {
            Some(at) if at + LEADER_WAIT > until => until = at + LEADER_WAIT,
            _ => return Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionAborted)))),
        }
    }
}
