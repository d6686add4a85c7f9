//! What a task asks for: the request as callers write it, and the spec that it becomes.
//!
//! [`TaskRequest`] is lenient in what may be left out and strict in what may be said;
//! [`TaskRequest::check`] turns it into a [`NewTask`], in which every field has its value.

mod request;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use request::{FieldError, ParseError, TaskRequest, parse_batch, parse_ndjson, parse_task};

use crate::{PoolName, TaskId};

/// The pool of a task that names none.
pub const DEFAULT_POOL: &str = "default";
/// The longest that `sleep` and `spin` may take, in seconds.
pub const MAX_SECONDS: f64 = 86_400.0;
/// Integers beyond this are not exact in every language that reads JSON.
pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;
/// Attempts of a task that does not say how many.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// The most attempts that a task may ask for.
pub const MAX_MAX_ATTEMPTS: u32 = 100;
/// Seconds that one attempt may take when the task does not say.
pub const DEFAULT_TIMEOUT_SECONDS: f64 = 3_600.0;
/// The longest timeout that a task may ask for: a week, in seconds.
pub const MAX_TIMEOUT_SECONDS: f64 = 604_800.0;
/// Priorities reach from minus this to plus this.
pub const MAX_PRIORITY: i8 = 100;
/// The most characters of a group, a label's value or an idempotency key.
pub const MAX_TEXT: usize = 255;
/// The most characters of a label's key.
pub const MAX_LABEL_KEY: usize = 63;
/// The most labels of one task.
pub const MAX_LABELS: usize = 32;

/// A number that keeps being an integer when it came as one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// Within plus and minus [`MAX_INTEGER`] once checked.
    Integer(i64),
    /// Finite once checked.
    Float(f64),
}

impl Number {
    /// The sum; an integer when both are.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Self::Integer(a.saturating_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(n) => n as f64,
            Self::Float(n) => n,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => n.fmt(f),
            Self::Float(n) => n.fmt(f),
        }
    }
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Waits.
    Sleep,
    /// Burns one core for as long.
    Spin,
}

impl Kind {
    /// The kind as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Spin => "spin",
        }
    }
}

/// What a worker has to know to run one attempt: `{"kind", "seconds", "add", "max_attempts", "timeout"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// What to do.
    pub kind: Kind,
    /// For how long, in seconds.
    pub seconds: f64,
    /// The two numbers whose sum is the result.
    pub add: [Number; 2],
    /// How many attempts may be lost or fail before the task has failed.
    pub max_attempts: u32,
    /// How long one attempt may take, in seconds.
    pub timeout: f64,
}

impl TaskSpec {
    /// The result of the work, `{"sum": a + b}`.
    #[must_use]
    pub fn sum(&self) -> Number {
        self.add[0].plus(self.add[1])
    }
}

/// Free text that a task carries for its submitter.
pub type Labels = BTreeMap<String, String>;

/// A checked task, every field with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Its name, made by the caller or by the orchestrator that received it.
    pub id: TaskId,
    /// What to do.
    pub spec: TaskSpec,
    /// Whose workers run it.
    pub pool: PoolName,
    /// Higher goes first, from -100 to 100.
    pub priority: i8,
    /// What it belongs to.
    pub group: Option<String>,
    /// What its submitter noted on it.
    pub labels: Labels,
    /// The text that stood in for the id.
    pub idempotency_key: Option<String>,
}
