//! How a task is run: what its order comes to, the threads that burn a core, the programs.
//!
//! Waiting needs no runner: the agent keeps the deadline.

pub mod command;
mod spin;

use std::time::Duration;

use clb_protocol::api::Progress;
use clb_protocol::link::{RunOrder, Yield};
use clb_protocol::task::{self, TaskSpec, Timed};
use clb_protocol::{AttemptNo, TaskId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use command::Job;

pub(crate) use spin::{Burner, StopOnDrop};

/// How long what a program left behind may go on by itself: the `tee` behind it has something to write.
const LINGER: Duration = Duration::from_millis(200);

/// One attempt of one task.
pub type AttemptKey = (TaskId, AttemptNo);

/// An attempt that is not the clock's came to its end.
#[derive(Debug)]
pub struct Ended {
    /// Which one.
    pub key: AttemptKey,
    /// What it gave.
    pub gave: Yield,
}

/// What is told of attempts that are not the clock's.
#[derive(Debug)]
pub enum Told {
    /// One came to its end.
    Ended(Ended),
    /// One says how far it is.
    Progress(AttemptKey, Progress),
}

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
    /// A program is to be run; after `limit` the attempt has timed out.
    Run {
        /// Which program.
        job: Box<Job>,
        /// How long it may take.
        limit: Duration,
    },
}

impl Work {
    /// Reads an order; one that cannot be run fails at once, with a sentence. What is left of a program
    /// after its end, and what is asked to stop, has `stop_grace` to do so.
    pub(crate) fn of(order: &RunOrder, stop_grace: Duration) -> Self {
        Self::read(order, stop_grace).unwrap_or_else(|sentence| Self::Over(Yield::failed(sentence)))
    }

    fn read(order: &RunOrder, stop_grace: Duration) -> Result<Self, String> {
        let spec: TaskSpec = serde_json::from_str(order.spec.get())
            .map_err(|error| format!("this worker cannot run such a task: {error}"))?;
        let limit = duration("timeout", spec.timeout)?;
        Ok(match spec.work {
            task::Work::Sleep(timed) => match timed_work(&timed)? {
                (span, gives) if span.is_zero() => Self::Over(gives),
                (span, _) if span > limit => Self::Wait(limit, Yield::TimedOut(None)),
                (span, gives) => Self::Wait(span, gives),
            },
            task::Work::Spin(timed) => match timed_work(&timed)? {
                (span, gives) if span.is_zero() => Self::Over(gives),
                (span, gives) => Self::Burn { span, limit, gives },
            },
            task::Work::Command(command) => {
                let (key, group) = ((order.task, order.attempt), order.group.clone());
                Self::Run { job: Box::new(Job { key, group, command, linger: LINGER, stop_grace }), limit }
            }
        })
    }
}

fn timed_work(timed: &Timed) -> Result<(Duration, Yield), String> {
    Ok((duration("seconds", timed.seconds)?, Yield::Succeeded(sum(timed)?)))
}

fn duration(field: &str, seconds: f64) -> Result<Duration, String> {
    /// Beyond this no clock of this worker counts.
    const LONGEST: f64 = 1e9;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(format!("this worker cannot run such a task: {field} is {seconds}"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{field}: {error}"))
}

fn sum(timed: &Timed) -> Result<Box<RawValue>, String> {
    #[derive(Serialize)]
    struct Sum {
        sum: clb_protocol::task::Number,
    }
    to_raw_value(&Sum { sum: timed.sum() }).map_err(|error| format!("the sum cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(spec: &str) -> Work {
        let spec = RawValue::from_string(spec.to_owned()).unwrap();
        let order = RunOrder { task: TaskId::now(), attempt: AttemptNo(1), group: None, spec };
        Work::of(&order, Duration::from_secs(5))
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
        assert!(matches!(spec("sleep", 2.0, 1.0), Work::Wait(t, Yield::TimedOut(None)) if t.as_secs() == 1));
        assert!(matches!(spec("sleep", 2.0, 3.0), Work::Wait(t, Yield::Succeeded(_)) if t.as_secs() == 2));
    }

    #[test]
    fn what_cannot_be_run_fails_with_a_sentence() {
        for bad in [r#"{"kind":"dance"}"#, "7", "null"] {
            assert!(matches!(work(bad), Work::Over(Yield::Failed(why)) if why.error.contains("cannot run")));
        }
        assert!(matches!(spec("spin", -1.0, 1.0), Work::Over(Yield::Failed(_))));
        assert!(matches!(spec("sleep", 1.0, 1e300), Work::Over(Yield::Failed(_))));
    }
}
