//! The tasks that wait, in the order in which they go: by pool, higher priority first, then as they
//! were submitted. A task that comes back from a lost worker has its old place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use clb_protocol::{PoolName, SubmissionSeq, TaskId};

use crate::task::Task;

type Place = (Reverse<i8>, SubmissionSeq, TaskId);

/// All waiting tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pools: BTreeMap<PoolName, BTreeSet<Place>>,
    len: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, id: TaskId, task: &Task) {
        let places = self.pools.entry(task.pool.clone()).or_default();
        self.len += usize::from(places.insert((Reverse(task.priority), task.seq, id)));
    }

    pub(crate) fn remove(&mut self, id: TaskId, task: &Task) {
        let place = (Reverse(task.priority), task.seq, id);
        self.len -= usize::from(self.pools.get_mut(&task.pool).is_some_and(|places| places.remove(&place)));
    }

    pub(crate) fn pop(&mut self, pool: &PoolName) -> Option<TaskId> {
        let (_, _, id) = self.pools.get_mut(pool)?.pop_first()?;
        self.len -= 1;
        Some(id)
    }

    pub(crate) fn is_empty(&self, pool: &PoolName) -> bool {
        self.pools.get(pool).is_none_or(BTreeSet::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, id: TaskId, task: &Task) -> bool {
        let place = (Reverse(task.priority), task.seq, id);
        self.pools.get(&task.pool).is_some_and(|places| places.contains(&place))
    }
}
