//! Tasks that were accepted a moment ago and run once, as callers see them when they have ended.
//!
//! Whoever waits for such a task is given it from here: reading back what was just written takes about as long as
//! writing it. Bounded, and only for tasks whose story is short; all others are read from the store, which says the
//! same.

use std::sync::Arc;

use clb_core::output::{Change, Ending, LastAttempt};
use clb_protocol::api::{AttemptView, TaskError, TaskState, TaskView};
use clb_protocol::task::NewTask;
use clb_protocol::{AttemptNo, TaskId, Timestamp};
use rustc_hash::FxHashMap;

/// How many tasks are kept.
const CAPACITY: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent(FxHashMap<TaskId, Accepted>);

#[derive(Debug)]
struct Accepted {
    task: Arc<NewTask>,
    at: Timestamp,
}

impl Recent {
    /// Keeps what was accepted, and lets go of what has more than one attempt.
    pub(super) fn take_in(&mut self, change: &Change) {
        match change {
            Change::TaskAccepted { task, at, .. } if self.0.len() < CAPACITY => {
                self.0.insert(task.id, Accepted { task: Arc::clone(task), at: *at });
            }
            Change::AttemptEnded { task, .. } => drop(self.0.remove(task)),
            _ => {}
        }
    }

    /// Lets go of tasks that were not stored.
    pub(super) fn forget(&mut self, ids: &[TaskId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    /// Lets go of a task whose end is stored, if `change` is that, and says how it is then, if that is `wanted`.
    pub(super) fn take(&mut self, change: &Change, wanted: impl FnOnce(TaskId) -> bool) -> Option<TaskView> {
        let Change::TaskEnded { task: id, at, ending, last, .. } = change else { return None };
        let accepted = self.0.remove(id)?;
        let is_short = last.as_ref().is_none_or(|last| last.attempt == AttemptNo(1));
        if !is_short || !wanted(*id) {
            return None;
        }
        accepted.ended(*at, ending, last.as_ref())
    }
}

impl Accepted {
    fn ended(&self, at: Timestamp, ending: &Ending, last: Option<&LastAttempt>) -> Option<TaskView> {
        let mut view = TaskView::accepted(&self.task, self.at).ok()?;
        view.finished_at = Some(at);
        (view.state, view.result, view.error) = match ending {
            Ending::Succeeded(result) => (TaskState::Succeeded, Some(result.clone()), None),
            Ending::Failed(error, result) => (TaskState::Failed, result.clone(), Some(error.clone())),
            Ending::Cancelled => (TaskState::Cancelled, None, Some(TaskError::cancelled())),
        };
        if let Some(last) = last {
            view.started_at = Some(last.started_at);
            view.worker = Some(last.worker.name());
            view.attempt = Some(last.attempt);
            view.attempts.push(AttemptView {
                attempt: last.attempt,
                worker: last.worker.name(),
                epoch: last.epoch,
                started_at: last.started_at,
                ended_at: Some(at),
                verdict: last.verdict.clone(),
            });
        }
        Some(view)
    }
}
