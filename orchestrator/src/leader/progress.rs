//! How far running tasks say they are. Kept in memory: workers say it again to the next leader.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clb_core::output::Change;
use clb_protocol::api::{Progress, TaskState, TaskView};
use clb_protocol::{AttemptNo, TaskId};

/// The latest word of each running attempt that told any.
#[derive(Debug, Default)]
pub(crate) struct Board {
    latest: Mutex<HashMap<TaskId, (AttemptNo, Progress)>>,
}

impl Board {
    pub(super) fn put(&self, task: TaskId, attempt: AttemptNo, progress: Progress) {
        self.latest().insert(task, (attempt, progress));
    }

    /// Forgets what was told of attempts that run no more.
    pub(super) fn take_in(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut latest = self.latest();
        if latest.is_empty() {
            return;
        }
        for change in changes {
            if let Change::AttemptEnded { task, .. } | Change::TaskEnded { task, .. } = change {
                latest.remove(task);
            }
        }
    }

    pub(super) fn of(&self, task: TaskId, attempt: Option<AttemptNo>) -> Option<Progress> {
        let latest = self.latest();
        let (told_by, progress) = latest.get(&task)?;
        (Some(*told_by) == attempt).then(|| progress.clone())
    }

    /// Adds to tasks from the store how far they are.
    pub(crate) fn complete<'a>(&self, tasks: impl IntoIterator<Item = &'a mut TaskView>) {
        for task in tasks {
            if task.state == TaskState::Running {
                task.progress = self.of(task.id, task.attempt);
            }
        }
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<TaskId, (AttemptNo, Progress)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
