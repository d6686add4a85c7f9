//! How a task is run: what its spec comes to, and the threads that burn a core.
//!
//! Waiting needs no runner: the agent keeps the deadline.

mod spin;

use std::time::Duration;

use clb_protocol::link::Yield;
use clb_protocol::task::{Kind, TaskSpec};
use clb_protocol::{AttemptNo, TaskId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use spin::{Burner, Ended, StopOnDrop};

/// One attempt of one task.
pub(crate) type AttemptKey = (TaskId, AttemptNo);

/// What an order comes to.
#[derive(Debug)]
pub(crate) enum Work {
    /// It is over at once.
    Over(Yield),
    /// Nothing is to be done until this time has passed; then it gives this.
    Wait(Duration, Yield),
    /// A core is to be burnt for `span`; after `limit` the attempt has timed out.
    Burn {
        /// For how long.
        span: Duration,
        /// How long it may take.
        limit: Duration,
        /// What it gives at its end.
        gives: Yield,
    },
}

impl Work {
    /// Reads an order's spec; one that cannot be run fails at once, with a sentence.
    pub(crate) fn of(spec: &RawValue) -> Self {
        Self::read(spec).unwrap_or_else(|sentence| Self::Over(Yield::Failed(sentence)))
    }

    fn read(spec: &RawValue) -> Result<Self, String> {
        let spec: TaskSpec = serde_json::from_str(spec.get())
            .map_err(|error| format!("this worker cannot run such a task: {error}"))?;
        let span = duration("seconds", spec.seconds)?;
        let limit = duration("timeout", spec.timeout)?;
        let gives = Yield::Succeeded(sum(&spec)?);
        Ok(match spec.kind {
            _ if span.is_zero() => Self::Over(gives),
            Kind::Sleep if span > limit => Self::Wait(limit, Yield::TimedOut),
            Kind::Sleep => Self::Wait(span, gives),
            Kind::Spin => Self::Burn { span, limit, gives },
        })
    }
}

fn duration(field: &str, seconds: f64) -> Result<Duration, String> {
    /// Beyond this no clock of this worker counts.
    const LONGEST: f64 = 1e9;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(format!("this worker cannot run such a task: {field} is {seconds}"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{field}: {error}"))
}

fn sum(spec: &TaskSpec) -> Result<Box<RawValue>, String> {
    #[derive(Serialize)]
    struct Sum {
        sum: clb_protocol::task::Number,
    }
    to_raw_value(&Sum { sum: spec.sum() }).map_err(|error| format!("the sum cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(spec: &str) -> Work {
        Work::of(&RawValue::from_string(spec.to_owned()).unwrap())
    }

    fn spec(kind: &str, seconds: f64, timeout: f64) -> Work {
        work(&format!(
            r#"{{"kind":"{kind}","seconds":{seconds},"add":[3,4],"max_attempts":3,"timeout":{timeout}}}"#
        ))
    }

    #[test]
    fn a_sleep_of_nothing_is_over_at_once() {
        let Work::Over(Yield::Succeeded(result)) = spec("sleep", 0.0, 1.0) else { panic!("not over") };
        assert_eq!(result.get(), r#"{"sum":7}"#);
    }

    #[test]
    fn a_sleep_beyond_its_timeout_times_out() {
        assert!(matches!(spec("sleep", 2.0, 1.0), Work::Wait(t, Yield::TimedOut) if t.as_secs() == 1));
        assert!(matches!(spec("sleep", 2.0, 3.0), Work::Wait(t, Yield::Succeeded(_)) if t.as_secs() == 2));
    }

    #[test]
    fn what_cannot_be_run_fails_with_a_sentence() {
        for bad in [r#"{"kind":"dance"}"#, "7", "null"] {
            assert!(matches!(work(bad), Work::Over(Yield::Failed(why)) if why.contains("cannot run")));
        }
        assert!(matches!(spec("spin", -1.0, 1.0), Work::Over(Yield::Failed(_))));
        assert!(matches!(spec("sleep", 1.0, 1e300), Work::Over(Yield::Failed(_))));
    }
}
