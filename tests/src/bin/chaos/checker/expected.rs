//! How a task may end.

use clb_protocol::Timestamp;
use clb_protocol::api::{TaskState, TaskView, VerdictKind};
use serde_json::Value;

/// Verdicts of attempts that need not count.
const FREE: [VerdictKind; 5] = [
    VerdictKind::Stopped,
    VerdictKind::Drained,
    VerdictKind::HostLost,
    VerdictKind::Superseded,
    VerdictKind::Cancelled,
];

/// What stands in the outcome of a task that nobody cancels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It succeeds with this sum.
    Sum(i64),
    /// It succeeds and has printed exactly this.
    Prints(String),
    /// It fails.
    Fails,
    /// It is cancelled.
    Cancelled,
    /// Succeeded or failed.
    Any,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) end: End,
    /// How many attempts may count against it.
    pub(crate) max_attempts: u32,
    /// When it may start.
    pub(crate) not_before: Option<Timestamp>,
}

impl Expected {
    /// Any end at all.
    pub(crate) fn any() -> Self {
        Self { end: End::Any, max_attempts: u32::MAX, not_before: None }
    }

    /// What is wrong with an outcome.
    pub(super) fn broken_by(&self, task: &TaskView, may_be_cancelled: bool) -> Option<String> {
        self.wrong_end(task, may_be_cancelled)
            .or_else(|| self.wrong_attempts(task))
            .or_else(|| wrong_order(task))
    }

    fn wrong_end(&self, task: &TaskView, may_be_cancelled: bool) -> Option<String> {
        let result: Value =
            task.result.as_ref().and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default();
        let is_right = match (&self.end, task.state) {
            (End::Cancelled, state) => state == TaskState::Cancelled,
            (_, TaskState::Cancelled) => may_be_cancelled,
            (End::Sum(sum), TaskState::Succeeded) => result["sum"] == *sum,
            (End::Prints(text), TaskState::Succeeded) => {
                result["stdout"] == **text
                    && result["exit_code"] == 0
                    && result.get("stdout_truncated").is_none()
            }
            (End::Fails, TaskState::Failed) => task.error.is_some(),
            (End::Any, TaskState::Succeeded | TaskState::Failed) => true,
            _ => false,
        };
        let state = task.state.as_str();
        (!is_right).then(|| format!("{state} with {result}, {:?} instead of {:?}", task.error, self.end))
    }

    /// What was stopped or drained on purpose costs nothing, nor does an order that reached nobody.
    fn wrong_attempts(&self, task: &TaskView) -> Option<String> {
        let kinds = || task.attempts.iter().filter_map(|it| it.verdict.as_ref()).map(|it| it.kind);
        let spent = kinds().filter(|kind| !FREE.contains(kind)).count();
        if spent > self.max_attempts as usize {
            return Some(format!("{spent} attempts count against {}", self.max_attempts));
        }
        let succeeded = kinds().filter(|kind| *kind == VerdictKind::Succeeded).count();
        if succeeded > 1 || (succeeded == 1 && task.state != TaskState::Succeeded) {
            return Some(format!("{succeeded} attempts succeeded and it is {}", task.state.as_str()));
        }
        let started = task.attempts.iter().map(|it| it.started_at).min();
        let too_early = self.not_before.zip(started).filter(|(not_before, started)| started < not_before);
        too_early.map(|(not_before, started)| format!("started at {started}, not before {not_before}"))
    }
}

/// Attempts are numbered upwards, and a later one is never of an earlier term.
fn wrong_order(task: &TaskView) -> Option<String> {
    let two = task
        .attempts
        .windows(2)
        .find(|two| two[0].attempt >= two[1].attempt || two[0].epoch > two[1].epoch)?;
    Some(format!(
        "attempt {} of epoch {} is followed by {} of {}",
        two[0].attempt, two[0].epoch, two[1].attempt, two[1].epoch
    ))
}
