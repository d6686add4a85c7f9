//! What is done to many tasks at once: which ones, and cancelling them.
//!
//! They are taken in pieces, each with a commit of its own, so that the leader does everything else in
//! between. Each piece says what is so when its turn comes: a task that ends meanwhile is left out.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use clb_core::input::Cancellable;
use clb_core::output::CancelReceipt;
use clb_protocol::api::{FieldError, ManyCancelled, TaskSelection, TaskState};
use clb_protocol::task::{Labels, ParseError, escape};
use clb_protocol::{SubmissionSeq, TaskId};
use clb_store::TaskFilter;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Door;
use super::problem::Refusal;
use super::tasks::{is_media_type, unsupported};

/// How many tasks one commit changes.
const PIECE: usize = 1_000;

/// Reads the fields of a body.
pub(super) fn fields(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if !is_media_type(headers, "application/json") {
        return Err(unsupported());
    }
    match serde_json::from_slice(body).map_err(|error| ParseError::NotJson(error.to_string()))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Refusal::invalid(vec![FieldError::at("", "must be a JSON object")])),
    }
}

/// Reads which tasks are meant. `states` are those that may be named.
pub(super) fn selection(fields: &Map<String, Value>, states: &[TaskState]) -> Result<TaskSelection, Refusal> {
    let mut errors: Vec<FieldError> =
        fields.iter().filter_map(|(key, value)| wrong_field(key, value, states)).collect();
    if fields.values().all(|value| value.is_null() || *value == Value::Object(Map::new())) {
        let detail = "must name at least one of pool, group, labels and state, or it would match every task";
        errors.push(FieldError::at("", detail));
    }
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors));
    }
    let named: Map<String, Value> =
        fields.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    TaskSelection::deserialize(Value::Object(named))
        .map_err(|error| Refusal::invalid(vec![FieldError::at("", error.to_string())]))
}

fn wrong_field(key: &str, value: &Value, states: &[TaskState]) -> Option<FieldError> {
    if value.is_null() && matches!(key, "state" | "pool" | "group" | "labels") {
        return None;
    }
    let (is_right, expected) = match key {
        "state" => {
            let is_right = TaskState::deserialize(value).is_ok_and(|state| states.contains(&state));
            let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            (is_right, format!("must be {}", names.join(" or ")))
        }
        "pool" | "group" => (value.is_string(), "must be text".to_owned()),
        "labels" => {
            (Labels::deserialize(value).is_ok(), "must be an object whose values are text".to_owned())
        }
        _ => (false, "is not a filter for tasks".to_owned()),
    };
    (!is_right).then(|| FieldError::at(format!("/{}", escape(key)), expected))
}

/// Walks through the tasks that a filter lets through, newest first, piece by piece.
pub(super) struct Walk {
    filter: TaskFilter,
    before: Option<SubmissionSeq>,
    is_over: bool,
}

impl Walk {
    pub(super) fn new(filter: TaskFilter) -> Self {
        Self { filter, before: None, is_over: false }
    }

    /// The next ids, perhaps none; `None` at the end.
    pub(super) async fn step(&mut self, door: &Door) -> Result<Option<Vec<TaskId>>, Refusal> {
        if self.is_over {
            return Ok(None);
        }
        let (filter, before) = (self.filter.clone(), self.before);
        let list = door.read(move |store| store.ids(&filter, before, PIECE)).await?;
        (self.before, self.is_over) = (list.next, list.next.is_none());
        Ok(Some(list.ids))
    }
}

/// The tasks of a selection, whatever their state.
pub(super) fn filter(selection: TaskSelection) -> TaskFilter {
    TaskFilter {
        pool: selection.pool,
        group: selection.group,
        labels: selection.labels.into_iter().collect(),
        ..TaskFilter::default()
    }
}

pub(super) async fn cancel(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ManyCancelled>, Refusal> {
    let selection = selection(&fields(&headers, &body)?, &[TaskState::Queued, TaskState::Running])?;
    // The store learns a little later than the leader who runs: the leader tells them apart.
    let which = match selection.state {
        Some(TaskState::Queued) => Cancellable::Waiting,
        Some(TaskState::Running) => Cancellable::Running,
        _ => Cancellable::Open,
    };
    let mut walk = Walk::new(TaskFilter { is_open: true, ..filter(selection) });
    let mut done = ManyCancelled::default();
    while let Some(ids) = walk.step(&door).await? {
        if !ids.is_empty() {
            let receipts = door.leader()?.cancel(ids, which).await.ok_or_else(Refusal::no_leader)??;
            let cancelled = receipts.iter().filter(|receipt| **receipt == CancelReceipt::Cancelled);
            done.cancelled += cancelled.count() as u64;
        }
    }
    Ok(Json(done))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    const STATES: &[TaskState] = &[TaskState::Queued, TaskState::Running];

    fn read(body: &str) -> Result<TaskSelection, Refusal> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        selection(&fields(&headers, body.as_bytes())?, STATES)
    }

    #[test]
    fn what_is_left_out_and_what_is_null_says_nothing() {
        let selection = read(r#"{"state": "queued", "group": null, "labels": {"a": "b"}}"#).unwrap();
        assert_eq!((selection.state, &selection.group), (Some(TaskState::Queued), &None));
        assert_eq!(filter(selection).labels, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(read(r#"{"pool": "gpu"}"#).unwrap().pool, Some("gpu".into()));
    }

    #[test]
    fn a_selection_of_everything_or_of_nonsense_is_refused() {
        for bad in [
            "",
            "{",
            "7",
            "[]",
            "{}",
            r#"{"labels": {}}"#,
            r#"{"state": null}"#,
            r#"{"state": "failed"}"#,
            r#"{"state": 1}"#,
            r#"{"pool": 1}"#,
            r#"{"labels": {"a": null}}"#,
            r#"{"pool": "default", "colour": "blue"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(fields(&HeaderMap::new(), br#"{"pool": "default"}"#).is_err(), "no media type");
    }
}
