//! What open tasks belong to, for the events: the core does not need to know.

use std::sync::Arc;

use clb_protocol::TaskId;
use rustc_hash::FxHashMap;

/// Below this capacity nothing is given back.
const SMALL: usize = 1_024;

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

    /// Forgets a task that has ended; gives the room of many back when few are left.
    pub(super) fn remove(&mut self, task: TaskId) {
        self.of.remove(&task);
        if self.of.capacity() > SMALL && self.of.len() < self.of.capacity() / 4 {
            self.of.shrink_to(self.of.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_many_is_given_back_when_few_are_left() {
        let mut groups = Groups::default();
        let task = |n: u32| TaskId::from_bytes(u128::from(n).to_be_bytes());
        (0..100_000).for_each(|n| groups.insert(task(n), "nightly"));
        (0..99_990).for_each(|n| groups.remove(task(n)));
        assert!(groups.of.capacity() <= SMALL, "room for {}", groups.of.capacity());
        assert!((99_990..100_000).all(|n| groups.get(task(n)) == Some("nightly")));
    }
}
