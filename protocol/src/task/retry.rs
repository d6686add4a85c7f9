//! What is repeated, and how long a task rests before that.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::FieldError;
use super::request::{escape, is};

/// The longest rest, in seconds.
pub const MAX_DELAY_SECONDS: f64 = 86_400.0;
/// The largest factor.
pub const MAX_FACTOR: f64 = 100.0;

/// What another attempt is made for, while there are any left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// Whatever went wrong.
    #[default]
    Any,
    /// Only an attempt that was lost with its worker: one that fails ends the task.
    Loss,
}

impl RetryOn {
    /// The names of all of them.
    pub const NAMES: [&'static str; 2] = ["any", "loss"];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().zip([Self::Any, Self::Loss]).find(|(own, _)| *own == name).map(|(_, on)| on)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// After its nth spent attempt a task rests `delay` × `factor`ⁿ⁻¹ seconds, at most `max_delay`, shortened or
/// lengthened by up to the fraction `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// What is repeated.
    #[serde(skip_serializing_if = "is_default")]
    pub on: RetryOn,
    /// Seconds. When left out, the first spent attempt is repeated at once and the second rests 0.5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<f64>,
    /// By how much the rest grows with each attempt.
    pub factor: f64,
    /// The longest rest, in seconds.
    pub max_delay: f64,
    /// From 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { on: RetryOn::Any, delay: None, factor: 2.0, max_delay: 30.0, jitter: 0.0 }
    }
}

/// The same as a caller writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryRequest {
    /// Stands in for the field of the same name beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// See [`Retry::on`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<RetryOn>,
    /// See [`Retry::delay`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<f64>,
    /// See [`Retry::factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// See [`Retry::max_delay`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<f64>,
    /// See [`Retry::jitter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

impl RetryRequest {
    /// With the defaults filled in; `None` when that is what a task gets anyway.
    pub(super) fn fill_in(self) -> Option<Retry> {
        let default = Retry::default();
        let retry = Retry {
            on: self.on.unwrap_or(default.on),
            delay: self.delay,
            factor: self.factor.unwrap_or(default.factor),
            max_delay: self.max_delay.unwrap_or(default.max_delay.max(self.delay.unwrap_or(0.0))),
            jitter: self.jitter.unwrap_or(default.jitter),
        };
        (retry != default).then_some(retry)
    }

    /// `beside` is the task's own `max_attempts`.
    pub(super) fn broken_limits(&self, beside: Option<i64>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, field: &str, detail: String| {
            if !holds {
                errors.push(FieldError::at(format!("/retry/{field}"), detail));
            }
        };
        let most = i64::from(super::MAX_MAX_ATTEMPTS);
        require(
            self.max_attempts.is_none_or(|n| (1..=most).contains(&n)),
            "max_attempts",
            format!("must be from 1 to {most}"),
        );
        if let (Some(here), Some(beside)) = (self.max_attempts, beside) {
            require(here == beside, "max_attempts", format!("differs from /max_attempts, which is {beside}"));
        }
        for (field, seconds) in [("delay", self.delay), ("max_delay", self.max_delay)] {
            require(
                seconds.is_none_or(|seconds| (0.0..=MAX_DELAY_SECONDS).contains(&seconds)),
                field,
                format!("must be from 0 to {MAX_DELAY_SECONDS} seconds"),
            );
        }
        require(
            self.factor.is_none_or(|factor| (1.0..=MAX_FACTOR).contains(&factor)),
            "factor",
            format!("must be from 1 to {MAX_FACTOR}"),
        );
        require(
            self.jitter.is_none_or(|jitter| (0.0..=1.0).contains(&jitter)),
            "jitter",
            "must be from 0 to 1".to_owned(),
        );
        errors
    }
}

/// Reads an object and nothing else: an array of the values in their order would be read as well.
pub(super) fn from_object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RetryRequest>, D::Error> {
    let fields = Option::<Map<String, Value>>::deserialize(deserializer)?;
    fields
        .map(|fields| RetryRequest::deserialize(Value::Object(fields)).map_err(D::Error::custom))
        .transpose()
}

/// Names what is wrong with the form of a `retry`.
pub(super) fn diagnose(value: &Value) -> Vec<FieldError> {
    let Value::Object(fields) = value else {
        return if value.is_null() {
            Vec::new()
        } else {
            vec![FieldError::at("/retry", "must be an object like {\"delay\": 1, \"factor\": 2}")]
        };
    };
    let wrong = |(key, value): (&String, &Value)| {
        let (is_right, expected) = match key.as_str() {
            "max_attempts" => (is::<i64>(value), "must be a whole number"),
            "on" => (is::<RetryOn>(value), "must be any or loss"),
            "delay" | "max_delay" => (is::<f64>(value), "must be a number of seconds"),
            "factor" | "jitter" => (is::<f64>(value), "must be a number"),
            _ => (false, "is not a field of a task's retry"),
        };
        (!is_right).then(|| FieldError::at(format!("/retry/{}", escape(key)), expected))
    };
    fields.iter().filter_map(wrong).collect()
}
