//! What callers, workers and other orchestrators may ask over HTTP.

mod bodies;
mod events;
mod explain;
mod forward;
mod forward_limits;
mod forwarded;
mod groups;
mod guard;
mod links;
mod many;
mod output;
mod pages;
mod parameters;
mod pools;
mod problem;
mod replay;
mod system;
mod tasks;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path};
use axum::http::Extensions;
use axum::routing::{get, post};
use clb_door::Limits;
use clb_protocol::TaskId;
use clb_protocol::api::TaskView;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::leader::Handle;
use crate::node::{Node, Role};
pub(crate) use bodies::LEAST_IN_FLIGHT;
use problem::Refusal;

/// The largest task, in bytes.
const TASK_LIMIT: usize = 1 << 20;
/// The largest batch, in bytes.
const BATCH_LIMIT: usize = 32 << 20;
const HEALTH_LIMIT: Duration = Duration::from_secs(3);

/// The name in a path.
type Named = Result<Path<String>, PathRejection>;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct Door {
    node: Arc<Node>,
    forwarder: forward::Forwarder,
    bodies: bodies::Bodies,
    readers: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

impl Door {
    fn new(node: Arc<Node>) -> Self {
        Self {
            bodies: bodies::Bodies::new(node.options.bodies_in_flight.0),
            forwarder: forward::Forwarder::new(node.options.connections),
            node,
            readers: Arc::new(Semaphore::new(output::MOST_READERS)),
            listeners: Arc::new(Semaphore::new(events::MOST_LISTENERS)),
        }
    }

    /// The leader of this very process, which the guard has seen to.
    fn leader(&self) -> Result<Handle, Refusal> {
        match self.node.role() {
            Role::Leading(leading) => Ok(leading.handle),
            _ => Err(Refusal::no_leader()),
        }
    }

    /// Reads from the store where it may wait.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn clb_store::Store) -> clb_store::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = Arc::clone(&self.node.store);
        match tokio::task::spawn_blocking(move || query(&*store)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Refusal::unavailable("The store could not be asked; send the request again.")),
        }
    }

    /// Reads a task that was written a moment ago and so is in memory: two changes of the thread would
    /// take longer than the reading, unless that has to wait.
    async fn read_fresh(&self, id: TaskId) -> Result<Option<TaskView>, Refusal> {
        match self.node.store.task_at_once(id) {
            Some(read) => Ok(read?),
            None => self.read(move |store| store.task(id)).await,
        }
    }
}

/// Serves until it is aborted.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener) {
    let limits = Limits {
        connections: node.options.connections,
        header_time: Duration::from_secs(node.options.header_time.into()),
        ..Limits::default()
    };
    clb_door::serve(listener, router(Door::new(node)), limits).await;
}

fn router(door: Door) -> Router {
    let led = Router::new()
        .route("/api/v1/tasks", post(tasks::submit).get(tasks::list))
        .route("/api/v1/tasks/batch", post(tasks::submit_batch).layer(DefaultBodyLimit::max(BATCH_LIMIT)))
        .route("/api/v1/tasks/cancel", post(many::cancel))
        .route("/api/v1/tasks/replay", post(replay::many))
        .route("/api/v1/tasks/{id}", get(tasks::show))
        .route("/api/v1/tasks/{id}/explain", get(explain::explain))
        .route("/api/v1/tasks/{id}/replay", post(replay::one))
        .route("/api/v1/tasks/{id}/cancel", post(tasks::cancel))
        .route("/api/v1/tasks/{id}/output", get(output::show))
        .route("/api/v1/groups", get(groups::list))
        .route("/api/v1/outcomes", get(tasks::outcomes))
        .route("/api/v1/cluster", get(system::cluster))
        .route("/api/v1/workers", get(system::workers))
        .route("/api/v1/workers/{name}/drain", post(pools::drain_worker))
        .route("/api/v1/workers/{name}/restart", post(pools::restart_worker))
        .route("/api/v1/workers/{name}/resume", post(pools::resume_worker))
        .route("/api/v1/pools", get(pools::list))
        .route("/api/v1/pools/{name}", get(pools::show).put(pools::put).delete(pools::delete))
        .route("/api/v1/pools/{name}/pause", post(pools::pause))
        .route("/api/v1/pools/{name}/resume", post(pools::resume))
        .route("/api/v1/obituaries", get(system::obituaries))
        .route("/api/v1/logs", get(system::logs))
        .route("/api/v1/events", get(events::stream))
        .route("/link/v1/logs", post(links::hand_in_logs))
        .layer(axum::middleware::from_fn_with_state(door.clone(), forward::to_leader))
        .layer(axum::middleware::from_fn_with_state(door.clone(), bodies::admit));
    let own = Router::new()
        .route("/", get(pages::status))
        .route("/logging", get(pages::logging))
        .route("/stop", get(pages::stop))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(system::ready))
        .route("/link/v1/worker", post(links::worker).layer(DefaultBodyLimit::disable()))
        .route("/link/v1/standby", post(links::standby).layer(DefaultBodyLimit::disable()));
    own.merge(led)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(TASK_LIMIT))
        .layer(axum::middleware::map_response(problem::dress))
        .layer(axum::middleware::from_fn_with_state(door.clone(), guard::check))
        .layer(CatchPanicLayer::new())
        .with_state(door)
}

/// The address that a request was matched with, with its places unfilled; empty for one that there is not.
fn route(extensions: &Extensions) -> &str {
    extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

/// Whether the orchestrator that listens at `address` answers.
pub(crate) async fn is_healthy(address: SocketAddr) -> bool {
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let client = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://{host}:{}/healthz", address.port());
    let Ok(request) = http::Request::get(url).body(Empty::<bytes::Bytes>::new()) else { return false };
    let answer = tokio::time::timeout(HEALTH_LIMIT, client.request(request)).await;
    matches!(answer, Ok(Ok(answer)) if answer.status().is_success())
}
