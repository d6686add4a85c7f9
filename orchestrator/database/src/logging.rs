//! `GET /logging`: every log line of every container, oldest first, page by page.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use clb_door::Refusal;
use clb_protocol::api::{FieldError, LogView};
use clb_protocol::{LogSeq, TaskId};
use clb_store::{LogFilter, LogFrom, LogRead, Reader, Result as StoreResult};
use serde::Deserialize;

use super::pages::{Desk, no_store, render, trouble};

const DEFAULT_LINES: u64 = 200;
const MOST_LINES: u64 = 1_000;
/// No line has a higher number.
const LAST_SEQ: u64 = i64::MAX as u64 - 1;
/// After so many seconds the newest page loads itself again.
const DEFAULT_REFRESH: u64 = 5;
const MOST_REFRESH: u64 = 3_600;
/// How long to look for lines that fit a filter before showing what there is.
const SEARCH_LIMIT: Duration = Duration::from_millis(200);
/// Names that the form suggests.
const SUGGESTIONS: usize = 200;

/// The query string, as forms send it: an empty value is none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    container: String,
    task: String,
    after: String,
    before: String,
    limit: String,
    refresh: String,
}

/// Which lines to show, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    filter: LogFilter,
    from: LogFrom,
    limit: u64,
    refresh: u64,
}

impl View {
    fn new(wanted: &Wanted) -> Result<Self, Refusal> {
        let mut errors = Vec::new();
        let mut number = |name: &str, text: &str, least: u64, most: u64| match text.trim() {
            "" => None,
            text => match text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Some(number),
                _ => {
                    let detail = format!("must be a whole number from {least} to {most}");
                    errors.push(FieldError::at(format!("?{name}"), detail));
                    None
                }
            },
        };
        let after = number("after", &wanted.after, 0, LAST_SEQ);
        let before = number("before", &wanted.before, 0, LAST_SEQ);
        let limit = number("limit", &wanted.limit, 1, MOST_LINES).unwrap_or(DEFAULT_LINES);
        let refresh = number("refresh", &wanted.refresh, 0, MOST_REFRESH).unwrap_or(DEFAULT_REFRESH);
        let from = match (after, before) {
            (None, None) => LogFrom::End,
            (Some(after), None) => LogFrom::After(LogSeq(after)),
            (None, Some(before)) => LogFrom::Before(LogSeq(before)),
            (Some(_), Some(_)) => {
                errors.push(FieldError::at("?before", "cannot stand beside ?after; send one of them"));
                LogFrom::End
            }
        };
        let task = match wanted.task.trim() {
            "" => None,
            text => match text.parse::<TaskId>() {
                Ok(task) => Some(task),
                Err(why) => {
                    errors.push(FieldError::at("?task", why.to_string()));
                    None
                }
            },
        };
        let container = Some(wanted.container.trim().to_owned()).filter(|name| !name.is_empty());
        if errors.is_empty() {
            Ok(Self { filter: LogFilter { container, task }, from, limit, refresh })
        } else {
            Err(Refusal::invalid(errors))
        }
    }

    /// Whether it goes on growing.
    fn is_live(&self) -> bool {
        self.from == LogFrom::End && self.refresh > 0
    }

    /// The address of the same view somewhere else.
    fn link(&self, from: LogFrom) -> String {
        let mut link = "/logging?".to_owned();
        let mut add = |name: &str, value: &str| {
            let _ = write!(link, "{name}={}&", encoded(value));
        };
        if let Some(container) = &self.filter.container {
            add("container", container);
        }
        if let Some(task) = &self.filter.task {
            add("task", &task.to_string());
        }
        match from {
            LogFrom::After(seq) => add("after", &seq.to_string()),
            LogFrom::Before(seq) => add("before", &seq.to_string()),
            LogFrom::End => {}
        }
        if self.limit != DEFAULT_LINES {
            add("limit", &self.limit.to_string());
        }
        if self.refresh != DEFAULT_REFRESH {
            add("refresh", &self.refresh.to_string());
        }
        link.pop();
        link
    }
}

/// A value for a query string.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[derive(Template)]
#[template(path = "logging.html")]
struct Logging<'a> {
    cluster: &'a str,
    container: &'a str,
    task: String,
    names: Vec<String>,
    lines: Vec<Row>,
    refresh: Option<u64>,
    older: Option<String>,
    newer: Option<String>,
    newest: String,
    flip: Option<String>,
    everything: Option<&'static str>,
}

struct Row {
    seq: u64,
    no: u32,
    message: String,
    at: String,
    time: String,
    container: String,
    container_link: String,
    /// The task's id and the link to its lines.
    task: Option<(String, String)>,
}

impl Row {
    fn new(line: LogView, view: &View) -> Self {
        let at = line.at.to_string();
        let time = match (at.get(..10), at.get(11..23)) {
            (Some(day), Some(time)) => format!("{day} {time}"),
            _ => at.clone(),
        };
        let narrowed = |filter| View { filter, ..view.clone() }.link(LogFrom::End);
        let container = Some(line.container.clone());
        Self {
            seq: line.seq.0,
            no: line.container_id.0,
            message: line.message,
            at,
            time,
            container_link: narrowed(LogFilter { container, ..view.filter.clone() }),
            container: line.container,
            task: line.task.map(|task| {
                let lines = narrowed(LogFilter { task: Some(task), ..view.filter.clone() });
                (task.to_string(), lines)
            }),
        }
    }
}

/// What a page shows of the store.
struct Found {
    read: LogRead,
    /// The number of the newest line of all.
    newest: LogSeq,
    names: Vec<String>,
}

pub(super) async fn show(
    State(desk): State<Desk>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let view = match wanted {
        Ok(Query(wanted)) => View::new(&wanted),
        Err(error) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.body_text())),
    };
    let view = match view {
        Ok(view) => view,
        Err(refusal) => return trouble(&desk, &refusal),
    };
    let asked = view.clone();
    match desk.source().read(move |store| find(store, &asked)).await {
        Ok(found) if prefers_text(&headers) => as_text(&found.read.logs).into_response(),
        Ok(found) => page(&desk, &view, found),
        Err(error) => no_store(&desk, &error),
    }
}

fn page(desk: &Desk, view: &View, found: Found) -> Response {
    let Found { read, newest, names } = found;
    let is_filtered = view.filter != LogFilter::default();
    let newer = (view.from != LogFrom::End && read.newer < newest).then_some(LogFrom::After(read.newer));
    let flipped = View { refresh: if view.refresh == 0 { DEFAULT_REFRESH } else { 0 }, ..view.clone() };
    render(&Logging {
        cluster: desk.cluster(),
        container: view.filter.container.as_deref().unwrap_or_default(),
        task: view.filter.task.map(|task| task.to_string()).unwrap_or_default(),
        names,
        refresh: view.is_live().then_some(view.refresh),
        older: read.older.map(|seq| view.link(LogFrom::Before(seq))),
        newer: newer.map(|from| view.link(from)),
        newest: view.link(LogFrom::End),
        flip: (view.from == LogFrom::End).then(|| flipped.link(LogFrom::End)),
        everything: is_filtered.then_some("/logging"),
        lines: read.logs.into_iter().map(|line| Row::new(line, view)).collect(),
    })
}

/// Reads on until the page is full, the log ends or the time is over.
fn find(store: &dyn Reader, view: &View) -> StoreResult<Found> {
    let begun = Instant::now();
    let limit = view.limit as usize;
    let mut read = store.logs(&view.filter, view.from, limit)?;
    let newest = store.logs(&LogFilter::default(), LogFrom::End, 1)?.newer;
    while read.logs.len() < limit && begun.elapsed() < SEARCH_LIMIT {
        let left = limit - read.logs.len();
        if let LogFrom::After(_) = view.from {
            if read.newer >= newest {
                break;
            }
            let more = store.logs(&view.filter, LogFrom::After(read.newer), left)?;
            if more.newer == read.newer {
                break;
            }
            read.newer = more.newer;
            read.logs.extend(more.logs);
        } else {
            let Some(older) = read.older else { break };
            let mut more = store.logs(&view.filter, LogFrom::Before(older), left)?;
            read.older = more.older;
            more.logs.append(&mut read.logs);
            read.logs = more.logs;
        }
    }
    let mut names: Vec<String> = store.containers()?.into_iter().map(|it| it.identity.name).collect();
    names.sort();
    names.dedup();
    names.truncate(SUGGESTIONS);
    Ok(Found { read, newest, names })
}

fn as_text(lines: &[LogView]) -> String {
    let mut text = String::new();
    for line in lines {
        let LogView { seq, at, container, container_id, message, .. } = line;
        let _ = writeln!(text, "{at} {container} <Log {seq}, Container {container_id}: {message}>");
    }
    text
}

fn prefers_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.contains("text/plain") && !accepted.contains("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(wanted: &Wanted) -> Result<View, Vec<String>> {
        View::new(wanted).map_err(|it| it.errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn empty_fields_of_the_form_mean_everything() {
        let view = view(&Wanted::default()).unwrap();
        assert_eq!((view.filter.clone(), view.from, view.limit), (LogFilter::default(), LogFrom::End, 200));
        assert_eq!(view.link(LogFrom::End), "/logging");
    }

    #[test]
    fn every_bad_field_is_named() {
        let text = |text: &str| text.to_owned();
        let bad = Wanted {
            task: text("7"),
            after: text("-1"),
            before: text("18446744073709551615"),
            limit: text("1001"),
            refresh: text("often"),
            ..Wanted::default()
        };
        assert_eq!(view(&bad), Err(["?after", "?before", "?limit", "?refresh", "?task"].map(text).to_vec()));
        let both = Wanted { after: text("1"), before: text("9"), ..Wanted::default() };
        assert_eq!(view(&both), Err(vec![text("?before")]));
    }

    #[test]
    fn a_link_keeps_the_filter() {
        let wanted = Wanted { container: "a&b <c>".into(), limit: "5".into(), ..Wanted::default() };
        let link = view(&wanted).unwrap().link(LogFrom::Before(LogSeq(7)));
        assert_eq!(link, "/logging?container=a%26b%20%3Cc%3E&before=7&limit=5");
    }
}
