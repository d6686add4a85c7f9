//! Reading a task as a caller wrote it. A good request is read once, fast; one that is refused is
//! read again, slowly, to name everything that is wrong with it by JSON pointer.

mod batch;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use batch::{parse_batch, parse_ndjson};

use super::command::{Argv, Env, Stdin};
use super::retry::{self, RetryRequest};
use super::work::{Fields, Kind, Misfit, Work};
use super::{
    DEFAULT_MAX_ATTEMPTS, DEFAULT_POOL, DEFAULT_TIMEOUT_SECONDS, Labels, MAX_LABEL_KEY, MAX_LABELS,
    MAX_MAX_ATTEMPTS, MAX_PRIORITY, MAX_PUT_OFF_SECONDS, MAX_TEXT, MAX_TIMEOUT_SECONDS, NewTask, Number,
    TaskSpec,
};
use crate::{PoolName, TaskId, Timestamp};

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong there, for a person.
    pub detail: String,
}

impl FieldError {
    /// Something wrong at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// Why a request could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It is not JSON at all.
    NotJson(String),
    /// It is JSON that says something else than a task.
    Invalid(Vec<FieldError>),
    /// It says more than so many tasks.
    TooMany(usize),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "not JSON: {why}"),
            Self::Invalid(errors) => {
                let all: Vec<String> =
                    errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
                f.write_str(&all.join("; "))
            }
            Self::TooMany(most) => write!(f, "more than {most} tasks"),
        }
    }
}

impl std::error::Error for ParseError {}

/// A task as a caller writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct TaskRequest {
    /// Names the task, so that submitting twice is submitting once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// What to do.
    #[serde(flatten)]
    pub work: Work,
    /// Whose workers run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Higher goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// How many attempts may be lost or fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// How long one attempt may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// How long it rests between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRequest>,
    /// It does not run before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its submitter notes on it.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// The fields of a request side by side.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<TaskId>,
    kind: Kind,
    seconds: Option<f64>,
    add: Option<[Number; 2]>,
    command: Option<Argv>,
    env: Option<Env>,
    stdin: Option<Stdin>,
    working_dir: Option<String>,
    success_codes: Option<BTreeSet<u8>>,
    pool: Option<String>,
    priority: Option<i64>,
    max_attempts: Option<i64>,
    timeout: Option<f64>,
    #[serde(default, deserialize_with = "retry::from_object")]
    retry: Option<RetryRequest>,
    not_before: Option<Timestamp>,
    group: Option<String>,
    #[serde(default)]
    labels: Labels,
}

impl TryFrom<Written> for TaskRequest {
    type Error = Misfit;

    fn try_from(written: Written) -> Result<Self, Misfit> {
        let Written { kind, seconds, add, command, env, stdin, working_dir, success_codes, .. } = written;
        let fields = Fields { kind, seconds, add, command, env, stdin, working_dir, success_codes };
        Ok(Self {
            id: written.id,
            work: fields.try_into()?,
            pool: written.pool,
            priority: written.priority,
            max_attempts: written.max_attempts,
            timeout: written.timeout,
            retry: written.retry,
            not_before: written.not_before,
            group: written.group,
            labels: written.labels,
        })
    }
}

impl TaskRequest {
    /// A request for `work` that leaves everything else to the defaults.
    #[must_use]
    pub fn new(work: Work) -> Self {
        Self {
            id: None,
            work,
            pool: None,
            priority: None,
            max_attempts: None,
            timeout: None,
            retry: None,
            not_before: None,
            group: None,
            labels: Labels::new(),
        }
    }

    /// Fills in the defaults and checks every limit. `fresh` becomes the id of a task that came
    /// without one.
    pub fn check(
        self,
        fresh: TaskId,
        idempotency_key: Option<String>,
        now: Timestamp,
    ) -> Result<NewTask, Vec<FieldError>> {
        let errors = self.broken_limits(now);
        if !errors.is_empty() {
            return Err(errors);
        }
        let timeout = self.timeout.unwrap_or_else(|| {
            DEFAULT_TIMEOUT_SECONDS.max(self.work.expected_seconds().map_or(0.0, |seconds| seconds + 60.0))
        });
        let retry = self.retry.unwrap_or_default();
        let max_attempts = self.max_attempts.or(retry.max_attempts).and_then(|n| u32::try_from(n).ok());
        Ok(NewTask {
            id: self.id.unwrap_or(fresh),
            spec: TaskSpec {
                work: self.work,
                max_attempts: max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
                timeout,
                retry: retry.fill_in(),
            },
            pool: PoolName::from(self.pool.as_deref().unwrap_or(DEFAULT_POOL)),
            priority: self.priority.and_then(|n| i8::try_from(n).ok()).unwrap_or(0),
            not_before: self.not_before,
            group: self.group,
            labels: self.labels,
            idempotency_key,
            replay_of: None,
        })
    }

    pub(super) fn broken_limits(&self, now: Timestamp) -> Vec<FieldError> {
        let mut errors = self.work.broken_limits();
        errors.extend(self.retry.iter().flat_map(|retry| retry.broken_limits(self.max_attempts)));
        let mut require = |holds: bool, pointer: &str, detail: String| {
            if !holds {
                errors.push(FieldError::at(pointer, detail));
            }
        };
        let priority = i64::from(MAX_PRIORITY);
        require(
            self.priority.is_none_or(|n| (-priority..=priority).contains(&n)),
            "/priority",
            format!("must be from -{priority} to {priority}"),
        );
        require(
            self.max_attempts.is_none_or(|n| (1..=i64::from(MAX_MAX_ATTEMPTS)).contains(&n)),
            "/max_attempts",
            format!("must be from 1 to {MAX_MAX_ATTEMPTS}"),
        );
        require(
            self.timeout.is_none_or(|s| s > 0.0 && s <= MAX_TIMEOUT_SECONDS),
            "/timeout",
            format!("must be more than 0 and at most {MAX_TIMEOUT_SECONDS} seconds"),
        );
        require(
            self.not_before.is_none_or(|at| at <= now + Duration::from_secs(MAX_PUT_OFF_SECONDS)),
            "/not_before",
            "must be at most a year ahead".to_owned(),
        );
        let fits = |text: &str, most: usize| !text.is_empty() && text.chars().count() <= most;
        require(
            self.pool.as_deref().is_none_or(|text| fits(text, MAX_TEXT)),
            "/pool",
            format!("must have 1 to {MAX_TEXT} characters"),
        );
        require(
            self.group.as_deref().is_none_or(|text| fits(text, MAX_TEXT)),
            "/group",
            format!("must have 1 to {MAX_TEXT} characters"),
        );
        require(self.labels.len() <= MAX_LABELS, "/labels", format!("must be at most {MAX_LABELS}"));
        for (key, value) in &self.labels {
            let pointer = format!("/labels/{}", escape(key));
            require(
                fits(key, MAX_LABEL_KEY),
                &pointer,
                format!("the key must have 1 to {MAX_LABEL_KEY} characters"),
            );
            require(
                value.chars().count() <= MAX_TEXT,
                &pointer,
                format!("the value must have at most {MAX_TEXT} characters"),
            );
        }
        errors
    }
}

/// Reads one task.
pub fn parse_task(body: &[u8]) -> Result<TaskRequest, ParseError> {
    serde_json::from_slice(body).map_err(|error| diagnose(body, &error))
}

/// A key as one part of a JSON pointer (RFC 6901, section 3).
#[must_use]
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn diagnose(body: &[u8], refused: &serde_json::Error) -> ParseError {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return ParseError::NotJson(error.to_string()),
    };
    let Value::Object(fields) = value else {
        return ParseError::Invalid(vec![FieldError::at("", "must be a JSON object")]);
    };
    let mut errors: Vec<FieldError> =
        fields.iter().flat_map(|(key, value)| wrong_fields(key, value)).collect();
    if !fields.contains_key("kind") {
        errors.push(FieldError::at("/kind", "is required"));
    }
    if let Some(kind) = fields.get("kind").and_then(|kind| Kind::deserialize(kind).ok()) {
        errors.extend(misplaced(kind, &fields));
    }
    if errors.is_empty() {
        errors.push(FieldError::at("", refused.to_string()));
    }
    ParseError::Invalid(errors)
}

/// What is missing from the fields of this kind of work, and what belongs to another kind.
fn misplaced(kind: Kind, fields: &Map<String, Value>) -> Vec<FieldError> {
    let is_there = |field: &str| fields.get(field).is_some_and(|value| !value.is_null());
    let (required, optional) = kind.fields();
    let missing = required.iter().filter(|field| !is_there(field));
    let mut errors: Vec<FieldError> =
        missing.map(|field| FieldError::at(format!("/{field}"), "is required")).collect();
    let others = [Kind::Sleep, Kind::Command].into_iter().flat_map(|other| {
        let (required, optional) = other.fields();
        required.iter().chain(optional)
    });
    for field in others.filter(|field| !required.contains(field) && !optional.contains(field)) {
        if is_there(field) {
            let detail = format!("does not belong to a task of kind {}", kind.as_str());
            errors.push(FieldError::at(format!("/{field}"), detail));
        }
    }
    errors
}

/// Whether a value of this type, or nothing, is written there.
pub(super) fn is<T: DeserializeOwned>(value: &Value) -> bool {
    Option::<T>::deserialize(value).is_ok()
}

fn wrong_fields(key: &str, value: &Value) -> Vec<FieldError> {
    if key == "retry" { retry::diagnose(value) } else { wrong_field(key, value).into_iter().collect() }
}

pub(super) fn wrong_field(key: &str, value: &Value) -> Option<FieldError> {
    let pointer = format!("/{}", escape(key));
    let (is_right, expected) = match key {
        "id" => return id_error(value).map(|detail| FieldError::at(pointer, detail)),
        "kind" => (Kind::deserialize(value).is_ok(), "must be \"sleep\", \"spin\" or \"command\""),
        "seconds" | "timeout" => (is::<f64>(value), "must be a number of seconds"),
        "add" => (is::<[Number; 2]>(value), "must be an array of two numbers"),
        "command" => (is::<Argv>(value), "must be an array of text, the program first"),
        "env" => (is::<Env>(value), "must be an object whose values are text"),
        "stdin" => (is::<Stdin>(value), "must be text or {\"base64\": \"...\"}"),
        "success_codes" => (is::<BTreeSet<u8>>(value), "must be an array of whole numbers from 0 to 255"),
        "pool" | "group" | "working_dir" => (is::<String>(value), "must be text"),
        "not_before" => (is::<Timestamp>(value), "must be a time like \"2026-01-01T03:00:00Z\" (RFC 3339)"),
        "priority" | "max_attempts" => (is::<i64>(value), "must be a whole number"),
        "labels" => (Labels::deserialize(value).is_ok(), "must be an object whose values are text"),
        _ => (false, "is not a field of a task"),
    };
    (!is_right).then(|| FieldError::at(pointer, expected))
}

fn id_error(value: &Value) -> Option<String> {
    Option::<TaskId>::deserialize(value)
        .err()
        .map(|_| serde_json::Error::custom(crate::ids::NotATaskId).to_string())
}

#[cfg(test)]
mod tests;
