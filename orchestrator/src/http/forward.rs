//! A standby answers everything by asking the leader; without a leader a request waits for one.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clb_protocol::api::{ClusterView, WorkerView};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Door;
use super::problem::Refusal;
use crate::node::Role;

/// How long a page waits for what the leader says.
const STANDING_LIMIT: Duration = Duration::from_secs(1);

/// How long a worker may take to begin its answer.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// Sends requests on to a leader.
#[derive(Clone)]
pub(super) struct Forwarder(Client<HttpConnector, Body>);

impl Forwarder {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// How things stand, as the leader at `url` says; `None` when it does not say so soon.
    pub(super) async fn standing(
        &self,
        url: &str,
        token: Option<&str>,
    ) -> Option<(ClusterView, Vec<WorkerView>)> {
        let ask = async {
            Some((
                self.get(&format!("{url}/api/v1/cluster"), token).await?,
                self.get(&format!("{url}/api/v1/workers"), token).await?,
            ))
        };
        timeout(STANDING_LIMIT, ask).await.ok()?
    }

    async fn get<T: DeserializeOwned>(&self, url: &str, token: Option<&str>) -> Option<T> {
        let answer = self.0.request(get(url, token)?).await.ok()?;
        serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    /// What somebody at this address answers, its body as it comes.
    pub(super) async fn open(&self, url: &str, token: Option<&str>) -> Option<Response> {
        let asked = self.0.request(get(url, token)?);
        Some(timeout(OPEN_LIMIT, asked).await.ok()?.ok()?.map(Body::new))
    }

    async fn send(&self, url: &str, mut request: Request) -> Response {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match format!("{url}{path}").parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Refusal::no_leader().into_response(),
        }
        match self.0.request(request).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) if error.is_connect() => Refusal::no_leader().into_response(),
            Err(_) => Refusal::unavailable(
                "The leader ended while it answered; send the request again, with the same id if it submits.",
            )
            .into_response(),
        }
    }
}

fn get(url: &str, token: Option<&str>) -> Option<Request> {
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Body::empty()).ok()
}

/// Lets a request through where this orchestrator leads, and forwards it otherwise.
pub(super) async fn to_leader(State(door): State<Door>, request: Request, next: Next) -> Response {
    match door.node.led().await {
        Some(Role::Leading(_)) => next.run(request).await,
        Some(Role::Following(lease)) => door.forwarder.send(&lease.url, request).await,
        Some(Role::Crashed) => (StatusCode::IM_A_TEAPOT, clb_protocol::seed::TEAPOT).into_response(),
        Some(Role::Leaderless { .. }) | None => match door.node.role() {
            Role::Leaderless { why } => Refusal::leaderless(why.as_deref()).into_response(),
            _ => Refusal::no_leader().into_response(),
        },
    }
}
