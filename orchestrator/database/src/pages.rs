//! The addresses, the page of what is stored, and how trouble looks.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clb_core::lease::TERM;
use clb_door::Refusal;
use clb_protocol::Timestamp;
use clb_protocol::api::FieldError;
use clb_protocol::link::ContainerRole;
use clb_store::{Lease, Pulse, Reader, Registration, Statistics, StoreError};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use super::backup::{self, Backups};
use super::journal::Journal;
use super::logging;
use super::source::Source;

/// Containers on the first page; the log shows the others.
const CONTAINERS_SHOWN: usize = 20;

/// What every handler works with.
#[derive(Clone)]
pub(super) struct Desk(Arc<Shared>);

struct Shared {
    cluster: String,
    token: Option<String>,
    source: Source,
    backups: Backups,
    journal: Arc<Journal>,
}

impl Desk {
    /// Pages of this store; with a `token` only for who knows it.
    pub(super) fn new(
        cluster: String,
        token: Option<String>,
        source: Source,
        backups: Backups,
        journal: Arc<Journal>,
    ) -> Self {
        Self(Arc::new(Shared { cluster, token, source, backups, journal }))
    }

    pub(super) fn cluster(&self) -> &str {
        &self.0.cluster
    }

    pub(super) fn source(&self) -> &Source {
        &self.0.source
    }

    pub(super) fn backups(&self) -> &Backups {
        &self.0.backups
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.0.journal
    }
}

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, desk: Desk) {
    clb_door::serve(listener, router(desk), clb_door::Limits::default()).await;
}

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(stored))
        .route("/logging", get(logging::show))
        .route("/backup", get(backup::download))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .layer(middleware::map_response(harden))
        .layer(CatchPanicLayer::new())
        .with_state(desk)
}

async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let is_open = matches!(path, "/healthz" | "/readyz");
    let token = desk.0.token.as_deref().filter(|_| !is_open);
    if let Err(refusal) = clb_door::check_token(headers, token) {
        return refusal.into_response();
    }
    // It changes nothing, but it costs as much room as the store has.
    if path == "/backup"
        && let Err(refusal) = clb_door::check_site(request.uri(), headers)
    {
        return refusal.into_response();
    }
    next.run(request).await
}

async fn method_not_allowed() -> Response {
    let mut answer = Refusal::method_not_allowed().into_response();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// The pages carry everything with them and are to be shown as they are now.
async fn harden(mut answer: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; \
        base-uri 'none'; frame-ancestors 'none'";
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Whether the store answers.
async fn ready(State(desk): State<Desk>) -> Result<&'static str, Refusal> {
    match desk.source().read(Reader::lease).await {
        Ok(_) => Ok("ready\n"),
        Err(error) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(1)),
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble<'a> {
    cluster: &'a str,
    title: &'a str,
    sentences: Vec<String>,
    /// It may be over by itself.
    is_passing: bool,
}

/// A page that says what is wrong.
pub(super) fn trouble(desk: &Desk, refusal: &Refusal) -> Response {
    let is_passing = refusal.retry_after_s.is_some();
    let title = if is_passing { "The store cannot be read" } else { "This cannot be shown" };
    let sentences = if refusal.errors.is_empty() {
        vec![sentence(&refusal.detail)]
    } else {
        let named = |error: &FieldError| {
            sentence(&format!("{} {}.", error.pointer.trim_start_matches('?'), error.detail))
        };
        refusal.errors.iter().map(named).collect()
    };
    let page = Trouble { cluster: desk.cluster(), title, sentences, is_passing };
    let mut answer = (refusal.status, render(&page)).into_response();
    if let Some(seconds) = refusal.retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Begins it with a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The page for a store that does not answer.
pub(super) fn no_store(desk: &Desk, error: &StoreError) -> Response {
    trouble(desk, &Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(1))
}

pub(super) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("The page cannot be made: {error}"))
                .into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "stored.html")]
struct Stored<'a> {
    cluster: &'a str,
    path: String,
    tables: Vec<(&'static str, String)>,
    size: String,
    bytes: String,
    last_commit: Option<(String, String)>,
    leader: Option<Leader>,
    containers: Vec<Container>,
    containers_left_out: usize,
}

struct Leader {
    name: String,
    url: String,
    epoch: u64,
    standing: String,
}

struct Container {
    no: u32,
    name: String,
    link: String,
    role: &'static str,
    since: String,
}

async fn stored(State(desk): State<Desk>) -> Response {
    let read = desk.source().read(|store| Ok((store.statistics()?, store.lease()?, store.containers()?)));
    let (statistics, lease, containers) = match read.await {
        Ok(read) => read,
        Err(error) => return no_store(&desk, &error),
    };
    let now = Timestamp::now();
    let Statistics { tables, bytes, last_commit_at } = statistics;
    let page = Stored {
        cluster: desk.cluster(),
        path: desk.source().path().display().to_string(),
        tables: tables.into_iter().map(|(table, rows)| (meaning(table), grouped(rows))).collect(),
        size: human_size(bytes),
        bytes: grouped(bytes),
        last_commit: last_commit_at.map(|at| (second(at), ago(at, now))),
        leader: lease.map(|lease| leader(lease, now)),
        containers_left_out: containers.len().saturating_sub(CONTAINERS_SHOWN),
        containers: containers.into_iter().rev().take(CONTAINERS_SHOWN).map(container).collect(),
    };
    render(&page)
}

fn meaning(table: &'static str) -> &'static str {
    match table {
        "tasks" => "tasks accepted",
        "open_tasks" => "tasks without an outcome",
        "outcomes" => "outcomes",
        "attempts" => "attempts",
        "obituaries" => "obituaries of containers",
        "containers" => "containers registered",
        "members" => "orchestrators",
        "log_lines" => "log lines",
        other => other,
    }
}

fn leader(lease: Lease, now: Timestamp) -> Leader {
    let standing = match lease.pulse {
        _ if lease.is_released => "gave the lease up; nobody leads".to_owned(),
        Some(Pulse { at, .. }) if at + TERM < now => format!("led last, until {}", ago(at, now)),
        Some(_) => "leads".to_owned(),
        None => "has taken the lease".to_owned(),
    };
    Leader { name: lease.holder.to_string(), url: lease.public_url, epoch: lease.epoch.0, standing }
}

fn container(registration: Registration) -> Container {
    let Registration { no, identity, at } = registration;
    let role = match identity.role {
        ContainerRole::Orchestrator => "orchestrator",
        ContainerRole::Worker => "worker",
        ContainerRole::Client => "client",
        ContainerRole::Database => "database",
    };
    let link = format!("/logging?container={}", logging::encoded(&identity.name));
    Container { no: no.0, name: identity.name, link, role, since: second(at) }
}

/// To the second, for people.
fn second(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => text,
    }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.since(at).as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1_023, 1_536, 5 << 30].map(human_size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        let now = Timestamp(1_800_000_000_000_000);
        let before = |seconds: i64| ago(Timestamp(now.0 - seconds * 1_000_000), now);
        assert_eq!([0, 61, 600, 90_000].map(before), ["just now", "61 s ago", "10 min ago", "25 h ago"]);
        assert_eq!(second(now), "2027-01-15 08:00:00");
    }
}
