//! `GET /logging`: what this container has to say, for people and for programs.

use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::page::html;

#[derive(Debug, Template)]
#[template(path = "logging.html")]
struct LogPage {
    lines: Vec<(String, String)>,
}

/// The newest lines, oldest first: a page for a browser, text for everybody else.
pub(crate) async fn logging(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let lines = app.journal.recent().into_iter().map(|line| (line.at.to_string(), line.message));
    if wants_html(&headers) {
        return html(StatusCode::OK, &LogPage { lines: lines.collect() });
    }
    let mut text = String::new();
    for (at, message) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{at} {message}");
    }
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|accept| accept.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}
