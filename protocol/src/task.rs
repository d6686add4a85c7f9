//! What a task asks for: the request as callers write it, and the spec that it becomes.
//!
//! [`TaskRequest`] is lenient in what may be left out and strict in what may be said;
//! [`TaskRequest::check`] turns it into a [`NewTask`], in which every field has its value.

mod changes;
mod command;
mod request;
mod result;
mod retry;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use changes::Changes;
pub use command::{
    Argv, Command, EmptyCommand, Env, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_COMMAND_BYTES, MAX_PATH_BYTES,
    MAX_VARIABLES, RESERVED_VARIABLES, Stdin,
};
pub use request::escape;
pub use request::{FieldError, ParseError, TaskRequest, parse_batch, parse_ndjson, parse_task};
pub use result::{
    CommandResult, Exit, MAX_OUTPUT_BYTES, OutOfMemory, Output, OutputStream, Truncated, missing,
};
pub use retry::{MAX_DELAY_SECONDS, MAX_FACTOR, Retry, RetryOn, RetryRequest};
pub use work::{Kind, Timed, Work};

use crate::{PoolName, TaskId, Timestamp};

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
/// A task may be put off by at most a year, in seconds.
pub const MAX_PUT_OFF_SECONDS: u64 = 366 * 86_400;
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

/// What a task does and how often it is tried: the fields of the work, `max_attempts`, `timeout` and, where it
/// is not the default, `retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredSpec")]
pub struct TaskSpec {
    /// What to do.
    #[serde(flatten)]
    pub work: Work,
    /// How many attempts may be lost or fail before the task has failed.
    pub max_attempts: u32,
    /// How long one attempt may take, in seconds.
    pub timeout: f64,
    /// What is repeated, and after which rest; `None` is [`Retry::default`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

#[derive(Deserialize)]
struct StoredSpec {
    kind: Kind,
    seconds: Option<f64>,
    add: Option<[Number; 2]>,
    command: Option<Argv>,
    env: Option<Env>,
    stdin: Option<Stdin>,
    working_dir: Option<String>,
    success_codes: Option<BTreeSet<u8>>,
    max_attempts: u32,
    timeout: f64,
    retry: Option<Retry>,
}

impl TryFrom<StoredSpec> for TaskSpec {
    type Error = work::Misfit;

    fn try_from(spec: StoredSpec) -> Result<Self, work::Misfit> {
        let StoredSpec { kind, seconds, add, command, env, stdin, working_dir, success_codes, .. } = spec;
        let fields = work::Fields { kind, seconds, add, command, env, stdin, working_dir, success_codes };
        Ok(Self {
            work: fields.try_into()?,
            max_attempts: spec.max_attempts,
            timeout: spec.timeout,
            retry: spec.retry,
        })
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
    /// It does not run before; one that is over says nothing.
    pub not_before: Option<Timestamp>,
    /// What it belongs to.
    pub group: Option<String>,
    /// What its submitter noted on it.
    pub labels: Labels,
    /// The text that stood in for the id.
    pub idempotency_key: Option<String>,
    /// The ended task whose work it does again.
    pub replay_of: Option<TaskId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_timed_work_is_what_stores_have() {
        let stored = r#"{"kind":"sleep","seconds":1.5,"add":[3,0.5],"max_attempts":3,"timeout":60.0}"#;
        let spec: TaskSpec = serde_json::from_str(stored).unwrap();
        assert_eq!(spec.work, Work::sleep(1.5, [Number::Integer(3), Number::Float(0.5)]));
        assert_eq!(serde_json::to_string(&spec).unwrap(), stored);
    }

    #[test]
    fn the_spec_of_a_command_is_read_as_it_was_written() {
        let mut command = Command::new(Argv::new("python", ["-c", "print(1+1)"]));
        command.env.insert("A".to_owned(), "b".to_owned());
        command.stdin = Some(Stdin(vec![0, 200]));
        command.working_dir = Some("/tmp".to_owned());
        command.success_codes.insert(3);
        let retry = Some(Retry { on: RetryOn::Loss, delay: Some(0.25), ..Retry::default() });
        let spec = TaskSpec { work: Work::Command(command), max_attempts: 3, timeout: 60.0, retry };
        let json = serde_json::to_string(&spec).unwrap();
        assert!(json.starts_with(r#"{"kind":"command","command":["python","-c","print(1+1)"],"env":"#));
        assert_eq!(serde_json::from_str::<TaskSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn a_spec_with_the_fields_of_another_kind_is_none() {
        for bad in [
            r#"{"kind":"sleep","command":["a"],"max_attempts":3,"timeout":60}"#,
            r#"{"kind":"command","command":["a"],"seconds":1,"max_attempts":3,"timeout":60}"#,
            r#"{"kind":"command","command":[],"max_attempts":3,"timeout":60}"#,
        ] {
            assert!(serde_json::from_str::<TaskSpec>(bad).is_err(), "{bad}");
        }
    }
}
