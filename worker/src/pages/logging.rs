//! The last lines of the worker's log, newest last.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use clb_protocol::Timestamp;
use serde::Deserialize;

use super::{Pages, refuse, render};
use crate::journal::RING_LINES;

const DEFAULT_LINES: usize = 500;
/// The longest time between two refreshes that makes sense, in seconds.
const MAX_REFRESH_SECONDS: u32 = 3_600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// How many lines.
    #[serde(default)]
    limit: Option<usize>,
    /// After how many seconds the page loads itself again.
    #[serde(default)]
    refresh: Option<u32>,
}

#[derive(Template)]
#[template(path = "logging.html")]
struct Logging<'a> {
    name: &'a str,
    limit: usize,
    refresh: Option<u32>,
    lines: Vec<(String, String)>,
}

pub(super) async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Wanted { limit, refresh } = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.body_text()),
    };
    let limit = limit.unwrap_or(DEFAULT_LINES);
    if !(1..=RING_LINES).contains(&limit) {
        return refuse(StatusCode::BAD_REQUEST, format!("limit must be from 1 to {RING_LINES}"));
    }
    if refresh.is_some_and(|seconds| !(1..=MAX_REFRESH_SECONDS).contains(&seconds)) {
        let detail = format!("refresh must be from 1 to {MAX_REFRESH_SECONDS} seconds");
        return refuse(StatusCode::BAD_REQUEST, detail);
    }
    let lines = pages.journal.last(limit);
    if prefers_text(&headers) {
        return as_text(&lines).into_response();
    }
    let lines = lines.into_iter().map(|(at, text)| (at.to_string(), text)).collect();
    render(&Logging { name: &pages.name, limit, refresh, lines })
}

fn as_text(lines: &[(Timestamp, String)]) -> String {
    let mut all = String::new();
    for (at, text) in lines {
        // Writing to a `String` cannot fail.
        let _ = writeln!(all, "{at} {text}");
    }
    all
}

fn prefers_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.contains("text/plain") && !accepted.contains("text/html")
}
