//! What open tasks belong to, for the events: the core does not need to know.

use std::sync::Arc;

use clb_protocol::TaskId;
use rustc_hash::FxHashMap;

/// The groups of the open tasks that have one.
#[derive(Debug, Default)]
pub(super) struct Groups {
    of: FxHashMap<TaskId, Arc<str>>,
    /// Tasks mostly come together with others of their group, which then share its name.
    last: Option<Arc<str>>,
}

impl Groups {
    /// Notes a task's group.
    pub(super) fn insert(&mut self, task: TaskId, group: &str) {
        let name = match &self.last {
            Some(last) if **last == *group => Arc::clone(last),
            _ => Arc::from(group),
        };
        self.last = Some(Arc::clone(&name));
        self.of.insert(task, name);
    }

    /// A task's group.
    pub(super) fn get(&self, task: TaskId) -> Option<&str> {
        self.of.get(&task).map(AsRef::as_ref)
    }

    /// Forgets a task that has ended.
    pub(super) fn remove(&mut self, task: TaskId) {
        self.of.remove(&task);
    }
}
