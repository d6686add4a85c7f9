//! The main page, whole.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use clb_client::Error;
use clb_client::protocol::TaskId;
use clb_client::protocol::api::TaskState;
use serde::Deserialize;

use super::App;
use super::board::Reach;
use super::listing::View;
use super::payload::{LONGEST_SECONDS, MOST_AT_ONCE, Payload, SHORTEST_SECONDS};
use super::row::{Rows, duration_words};
use super::status::Status;

/// What the address of the page says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    state: Option<String>,
    cursor: Option<String>,
    payload: Option<TaskId>,
    sent: Option<TaskId>,
    sent_at_once: Option<u32>,
    cancelled: Option<TaskId>,
}

/// The fields of a payload as a person sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) seconds: String,
    pub(crate) a: String,
    pub(crate) b: String,
}

/// The fields of "send N at once".
#[derive(Clone, Debug)]
pub(crate) struct AtOnce {
    pub(crate) batch: String,
    pub(crate) count: String,
    pub(crate) shortest: String,
    pub(crate) longest: String,
}

/// What is said about the last click.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) is_bad: bool,
    pub(crate) text: String,
}

/// What a page is made of besides the state of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) status: StatusCode,
    pub(crate) view: View,
    pub(crate) draft: Option<Draft>,
    pub(crate) at_once: AtOnce,
    pub(crate) notice: Option<Notice>,
}

#[derive(Debug, Template)]
#[template(path = "page.html")]
struct Page {
    status: String,
    rows: String,
    stale: Option<String>,
    draft: Option<Draft>,
    at_once: AtOnce,
    notice: Option<Notice>,
    /// The state that is filtered by, or nothing.
    only: &'static str,
    query: String,
    refresh_seconds: u32,
    most_at_once: u32,
}

impl Page {
    const STATES: [&'static str; 5] = ["queued", "running", "succeeded", "failed", "cancelled"];
}

impl Default for AtOnce {
    fn default() -> Self {
        Self {
            batch: TaskId::now().to_string(),
            count: "10".to_owned(),
            shortest: SHORTEST_SECONDS.to_string(),
            longest: LONGEST_SECONDS.to_string(),
        }
    }
}

impl From<&Payload> for Draft {
    fn from(payload: &Payload) -> Self {
        let [a, b] = payload.add.map(|number| number.to_string());
        Self { id: payload.id.to_string(), seconds: payload.seconds.to_string(), a, b }
    }
}

impl Notice {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { is_bad: false, text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { is_bad: true, text: text.into() }
    }
}

impl Address {
    pub(crate) fn view(&self) -> Result<View, String> {
        view(self.state.as_deref(), self.cursor.as_deref())
    }

    fn notice(&self) -> Option<Notice> {
        if let Some(id) = self.sent {
            return Some(Notice::good(format!("Sent payload {id}. Its result appears below by itself.")));
        }
        if let Some(count) = self.sent_at_once {
            return Some(Notice::good(format!("Sent {count} payloads. Their results appear below.")));
        }
        self.cancelled.map(|id| Notice::good(format!("Cancelled payload {id}.")))
    }
}

/// Reads which part of the payloads is asked for.
pub(crate) fn view(state: Option<&str>, cursor: Option<&str>) -> Result<View, String> {
    let state = match state.filter(|state| !state.is_empty()) {
        None => None,
        Some("queued") => Some(TaskState::Queued),
        Some("running") => Some(TaskState::Running),
        Some("succeeded") => Some(TaskState::Succeeded),
        Some("failed") => Some(TaskState::Failed),
        Some("cancelled") => Some(TaskState::Cancelled),
        Some(other) => return Err(format!("{other:?} is not a state of a payload\n")),
    };
    Ok(View { state, cursor: cursor.filter(|cursor| !cursor.is_empty()).map(str::to_owned) })
}

/// `GET /`
pub(crate) async fn main(State(app): State<Arc<App>>, Query(address): Query<Address>) -> Response {
    let view = match address.view() {
        Ok(view) => view,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let notice = address.notice();
    let draft =
        address.payload.map(|id| Draft::from(&Payload::made_up(id, SHORTEST_SECONDS, LONGEST_SECONDS)));
    render(&app, Content { view, draft, notice, ..Content::default() }).await
}

/// `GET /rows`: only the table, for a page that is open and heard that something changed.
pub(crate) async fn rows(State(app): State<Arc<App>>, Query(address): Query<Address>) -> Response {
    let view = match address.view() {
        Ok(view) => view,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    match app.list_after_news(&view).await {
        Ok(listing) => html(StatusCode::OK, &Rows::new(&listing, &view)),
        Err(error) => (status_for(&error), format!("{error}\n")).into_response(),
    }
}

/// The page with the cluster as it is now, or as it was when somebody answered last.
pub(crate) async fn render(app: &App, content: Content) -> Response {
    let Content { mut status, view, draft, at_once, mut notice } = content;
    let (listing, stale) = match app.list(&view).await {
        Ok(listing) => (Some(listing), None),
        Err(error) => {
            // A page that only shows can say so itself; a cursor of another time is the caller's.
            if !error.is_retryable() {
                status = status_for(&error);
            }
            // The head of the page tells of an outage itself, once it is known.
            if matches!(app.board.picture().reach, Reach::Reached) {
                notice.get_or_insert_with(|| Notice::bad(format!("The payloads cannot be listed: {error}.")));
            }
            let known = app.listings.last_known().filter(|_| view == View::default());
            let age = known.as_ref().map(|listing| {
                let seconds = listing.read_at.elapsed().as_secs_f64();
                format!("as of {} ago", duration_words(seconds))
            });
            (known, Some(age.unwrap_or_else(|| "not known now".to_owned())))
        }
    };
    let rows = listing.map_or_else(String::new, |listing| text(&Rows::new(&listing, &view)));
    let page = Page {
        status: text(&Status::new(app, &app.board.picture())),
        rows,
        stale,
        // A reload would take away what a person is typing.
        refresh_seconds: if draft.is_some() { 20 } else { 2 },
        draft,
        at_once,
        notice,
        only: view.state.map_or("", TaskState::as_str),
        query: query(&view),
        most_at_once: MOST_AT_ONCE,
    };
    html(status, &page)
}

/// A view as the query of an address.
pub(crate) fn query(view: &View) -> String {
    let state = view.state.map_or("", TaskState::as_str);
    let cursor = view.cursor.as_deref().unwrap_or_default();
    let pairs = [("state", state), ("cursor", cursor)].into_iter().filter(|(_, value)| !value.is_empty());
    let mut address = reqwest::Url::parse("http://page/").ok();
    if let Some(address) = address.as_mut() {
        address.query_pairs_mut().extend_pairs(pairs);
    }
    address.as_ref().and_then(|address| address.query()).unwrap_or_default().to_owned()
}

/// What to answer a browser when the cluster did not do what was asked.
pub(crate) fn status_for(error: &Error) -> StatusCode {
    match error {
        Error::Refused { problem } | Error::QueueFull { problem, .. } if problem.status != 401 => {
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        Error::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

pub(crate) fn html(status: StatusCode, template: &impl Template) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Html(text(template))).into_response()
}

pub(crate) fn text(template: &impl Template) -> String {
    // Writing to a String cannot fail.
    template.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_its_address() {
        let view = View { state: Some(TaskState::Running), cursor: Some("a&b=c".into()) };
        assert_eq!(query(&view), "state=running&cursor=a%26b%3Dc");
        assert_eq!(query(&View::default()), "");
        assert!(super::view(Some("lost"), None).is_err());
    }
}
