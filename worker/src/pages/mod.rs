//! The worker's own small pages. They show what the agent and the log say and can flip the simulated
//! crash; the leader's orders never come this way.

mod guard;
mod logging;
mod output;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clb_door::Refusal;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::agent::View;
use crate::journal::Journal;
use crate::worker::{Desk, DeskClosed};

/// What the pages are made of.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    name: Arc<str>,
    token: Option<Arc<str>>,
    desk: Desk,
    journal: Journal,
    readers: Arc<Semaphore>,
}

impl Pages {
    /// Pages of the worker called `name`; with a `token` only for who knows it.
    pub(crate) fn new(name: String, token: Option<String>, desk: Desk, journal: Journal) -> Self {
        let readers = Arc::new(Semaphore::new(output::MOST_READERS));
        Self { name: name.into(), token: token.map(Into::into), desk, journal, readers }
    }
}

/// Answers on `listener` for as long as the process lives.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) {
    clb_door::serve(listener, router(pages), clb_door::Limits::default()).await;
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/logging", get(logging::show))
        .route("/stop", get(stop))
        .route("/tasks/{id}/output", get(output::show))
        .route("/healthz", get(async || "ok"))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(pages.clone(), guard::check))
        .layer(middleware::map_response(harden))
        .with_state(pages)
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index<'a> {
    name: &'a str,
    view: &'a View,
    running: Vec<Row>,
}

struct Row {
    task: String,
    attempt: u32,
    seconds: String,
}

async fn index(State(pages): State<Pages>) -> Response {
    let view = match pages.desk.view().await {
        Ok(view) => view,
        Err(DeskClosed) => return is_ending(),
    };
    let running = view.running.iter().map(|it| Row {
        task: it.task.to_string(),
        attempt: it.attempt.0,
        seconds: format!("{:.1}", it.ran_for.as_secs_f64()),
    });
    render(&Index { name: &pages.name, view: &view, running: running.collect() })
}

async fn stop(method: Method, State(pages): State<Pages>) -> Response {
    if method != Method::GET {
        // A HEAD request only looks; it must not flip anything.
        return method_not_allowed().await;
    }
    match pages.desk.flip().await {
        Ok(true) => "True".into_response(),
        Ok(false) => "False".into_response(),
        Err(DeskClosed) => is_ending(),
    }
}

async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    refuse(StatusCode::NOT_FOUND, format!("There is no {path} here; try /, /logging, /stop or /healthz."))
}

async fn method_not_allowed() -> Response {
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered here.".to_owned());
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    answer
}

fn is_ending() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "This worker is ending; its replacement comes soon.".to_owned())
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, format!("The page cannot be shown: {error}")),
    }
}

fn refuse(status: StatusCode, detail: String) -> Response {
    Refusal::new(status, detail).into_response()
}

/// The pages carry everything with them and are to be shown as they are now.
async fn harden(mut answer: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests;
