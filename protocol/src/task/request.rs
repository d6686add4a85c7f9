//! Reading a task as a caller wrote it. A good request is read once, fast; one that is refused is
//! read again, slowly, to name everything that is wrong with it by JSON pointer.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    DEFAULT_MAX_ATTEMPTS, DEFAULT_POOL, DEFAULT_TIMEOUT_SECONDS, Kind, Labels, MAX_INTEGER, MAX_LABEL_KEY,
    MAX_LABELS, MAX_MAX_ATTEMPTS, MAX_PRIORITY, MAX_SECONDS, MAX_TEXT, MAX_TIMEOUT_SECONDS, NewTask, Number,
    TaskSpec,
};
use crate::{PoolName, TaskId};

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
        }
    }
}

impl std::error::Error for ParseError {}

/// A task as a caller writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// Names the task, so that submitting twice is submitting once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// What to do.
    pub kind: Kind,
    /// For how long, in seconds.
    pub seconds: f64,
    /// Two numbers to add; 0 and 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<[Number; 2]>,
    /// Whose workers run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Higher goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// How many attempts may be lost or fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// How long one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its submitter notes on it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl TaskRequest {
    /// A request for `kind` that leaves everything else to the defaults.
    #[must_use]
    pub fn new(kind: Kind, seconds: f64, add: [Number; 2]) -> Self {
        Self {
            id: None,
            kind,
            seconds,
            add: Some(add),
            pool: None,
            priority: None,
            max_attempts: None,
            timeout: None,
            group: None,
            labels: Labels::new(),
        }
    }

    /// Fills in the defaults and checks every limit. `fresh` becomes the id of a task that came
    /// without one.
    pub fn check(self, fresh: TaskId, idempotency_key: Option<String>) -> Result<NewTask, Vec<FieldError>> {
        let errors = self.broken_limits();
        if !errors.is_empty() {
            return Err(errors);
        }
        let timeout = self.timeout.unwrap_or_else(|| DEFAULT_TIMEOUT_SECONDS.max(self.seconds + 60.0));
        let max_attempts = self.max_attempts.and_then(|n| u32::try_from(n).ok());
        Ok(NewTask {
            id: self.id.unwrap_or(fresh),
            spec: TaskSpec {
                kind: self.kind,
                seconds: self.seconds,
                add: self.add.unwrap_or([Number::Integer(0); 2]),
                max_attempts: max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
                timeout,
            },
            pool: PoolName::from(self.pool.as_deref().unwrap_or(DEFAULT_POOL)),
            priority: self.priority.and_then(|n| i8::try_from(n).ok()).unwrap_or(0),
            group: self.group,
            labels: self.labels,
            idempotency_key,
        })
    }

    fn broken_limits(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, pointer: &str, detail: String| {
            if !holds {
                errors.push(FieldError::at(pointer, detail));
            }
        };
        require(
            (0.0..=MAX_SECONDS).contains(&self.seconds),
            "/seconds",
            format!("must be from 0 to {MAX_SECONDS}"),
        );
        for (place, number) in self.add.iter().flatten().enumerate() {
            let exact = match number {
                Number::Integer(n) => (-MAX_INTEGER..=MAX_INTEGER).contains(n),
                Number::Float(n) => n.is_finite() && n.abs() <= f64::MAX / 2.0,
            };
            require(exact, &format!("/add/{place}"), format!("must be a number within ±{MAX_INTEGER}"));
        }
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

/// Reads a JSON array of tasks; the inner results are those of the items.
pub fn parse_batch(body: &[u8]) -> Result<Vec<Result<TaskRequest, ParseError>>, ParseError> {
    if let Ok(all) = serde_json::from_slice::<Vec<TaskRequest>>(body) {
        return Ok(all.into_iter().map(Ok).collect());
    }
    match serde_json::from_slice::<Vec<&RawValue>>(body) {
        Ok(items) => Ok(items.into_iter().map(|item| parse_task(item.get().as_bytes())).collect()),
        Err(_) if is_json(body) => {
            Err(ParseError::Invalid(vec![FieldError::at("", "must be a JSON array of tasks")]))
        }
        Err(error) => Err(ParseError::NotJson(error.to_string())),
    }
}

/// What is passed over is not looked at: whether it is text at all is asked beside.
fn is_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Reads one task a line; empty lines are passed over.
#[must_use]
pub fn parse_ndjson(body: &[u8]) -> Vec<Result<TaskRequest, ParseError>> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
        .map(parse_task)
        .collect()
}

/// A key as one part of a JSON pointer (RFC 6901, section 3).
fn escape(key: &str) -> String {
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
        fields.iter().filter_map(|(key, value)| wrong_field(key, value)).collect();
    for required in ["kind", "seconds"] {
        if !fields.contains_key(required) {
            errors.push(FieldError::at(format!("/{required}"), "is required"));
        }
    }
    if errors.is_empty() {
        errors.push(FieldError::at("", refused.to_string()));
    }
    ParseError::Invalid(errors)
}

fn wrong_field(key: &str, value: &Value) -> Option<FieldError> {
    fn is<T: DeserializeOwned>(value: &Value) -> bool {
        T::deserialize(value).is_ok()
    }
    let pointer = format!("/{}", escape(key));
    let expected = match key {
        "id" => return id_error(value).map(|detail| FieldError::at(pointer, detail)),
        "kind" => (!is::<Kind>(value)).then_some("must be \"sleep\" or \"spin\""),
        "seconds" => (!is::<f64>(value)).then_some("must be a number of seconds"),
        "add" => (!is::<Option<[Number; 2]>>(value)).then_some("must be an array of two numbers"),
        "pool" | "group" => (!is::<Option<String>>(value)).then_some("must be text"),
        "priority" | "max_attempts" => (!is::<Option<i64>>(value)).then_some("must be a whole number"),
        "timeout" => (!is::<Option<f64>>(value)).then_some("must be a number of seconds"),
        "labels" => (!is::<Labels>(value)).then_some("must be an object whose values are text"),
        _ => Some("is not a field of a task"),
    };
    expected.map(|detail| FieldError::at(pointer, detail))
}

fn id_error(value: &Value) -> Option<String> {
    Option::<TaskId>::deserialize(value)
        .err()
        .map(|_| serde_json::Error::custom(crate::ids::NotATaskId).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(result: Result<TaskRequest, ParseError>) -> Vec<String> {
        match result.unwrap_err() {
            ParseError::Invalid(errors) => errors.into_iter().map(|e| e.pointer).collect(),
            ParseError::NotJson(why) => panic!("{why}"),
        }
    }

    fn checked(body: &str) -> Result<NewTask, Vec<FieldError>> {
        parse_task(body.as_bytes()).unwrap().check(TaskId::now(), None)
    }

    fn timeout_ms(task: &NewTask) -> u64 {
        (task.spec.timeout * 1000.0) as u64
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let task = checked(r#"{"kind": "sleep", "seconds": 1, "add": [3, 4]}"#).unwrap();
        assert_eq!(task.pool.as_str(), "default");
        assert_eq!((task.priority, task.spec.max_attempts), (0, 3));
        assert_eq!(timeout_ms(&task), 3_600_000);
        assert_eq!(task.spec.sum(), Number::Integer(7));
    }

    #[test]
    fn a_long_sleep_is_not_cut_off_by_the_default_timeout() {
        let task = checked(r#"{"kind": "sleep", "seconds": 86400}"#).unwrap();
        assert_eq!(timeout_ms(&task), 86_460_000);
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let body = br#"{"id": "7", "kind": "dance", "secs": 1, "add": [1], "labels": {"a": 1}, "a/b": 0}"#;
        let mut found = pointers(parse_task(body));
        found.sort();
        assert_eq!(found, ["/add", "/a~1b", "/id", "/kind", "/labels", "/seconds", "/secs"]);
    }

    #[test]
    fn limits_are_checked_and_named() {
        let errors = checked(
            r#"{"kind": "spin", "seconds": -1, "add": [1, 9007199254740992], "priority": 101,
                "max_attempts": 0, "timeout": 0, "group": "", "pool": ""}"#,
        )
        .unwrap_err();
        let found: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(
            found,
            ["/seconds", "/add/1", "/priority", "/max_attempts", "/timeout", "/pool", "/group"]
        );
    }

    #[test]
    fn text_that_is_no_json_is_told_from_json_that_is_no_task() {
        assert!(matches!(parse_task(b"{"), Err(ParseError::NotJson(_))));
        assert!(matches!(parse_task(b""), Err(ParseError::NotJson(_))));
        assert_eq!(pointers(parse_task(b"[]")), [""]);
        assert!(matches!(parse_batch(b"{}"), Err(ParseError::Invalid(_))));
        assert!(matches!(parse_batch(b"[{]"), Err(ParseError::NotJson(_))));
    }

    #[test]
    fn one_bad_item_does_not_spoil_its_batch() {
        let batch = parse_batch(br#"[{"kind": "sleep", "seconds": 0}, {"kind": "sleep"}]"#).unwrap();
        assert!(batch[0].is_ok());
        assert!(batch[1].is_err());
        let lines = parse_ndjson(b"{\"kind\": \"sleep\", \"seconds\": 0}\n\n{\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].is_ok() && lines[1].is_err());
    }

    #[test]
    fn only_version_seven_names_a_task() {
        let body = br#"{"id": "c2a0a6a4-5b0c-4b3c-8a55-0c9c9d6a1b11", "kind": "sleep", "seconds": 0}"#;
        assert_eq!(pointers(parse_task(body)), ["/id"]);
    }
}
