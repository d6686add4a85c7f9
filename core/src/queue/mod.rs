//! The tasks that wait, in the order in which they go: by pool, higher priority first, then as they
//! were submitted. A task that comes back from a lost worker has its old place.
//!
//! Waiting counts like priority, so that nothing starves. Since all tasks age alike, what is ahead of what
//! never changes: a task's turn is a number that is known from the start.

mod ranked;

use std::collections::BTreeMap;
use std::time::Duration;

use clb_protocol::{PoolName, SubmissionSeq, TaskId, Timestamp};

use crate::task::Task;

use self::ranked::Ranked;

/// So much waiting outweighs one point of priority.
const POINT: Duration = Duration::from_mins(1);

/// When a task goes; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn(i64);

impl Turn {
    /// The turn of a task that waits, or will wait, for a slot since `since`.
    #[must_use]
    pub fn new(since: Timestamp, priority: i8) -> Self {
        let point = i64::try_from(POINT.as_micros()).unwrap_or(i64::MAX);
        Self(since.0.saturating_sub(point.saturating_mul(i64::from(priority))))
    }
}

type Place = (Turn, SubmissionSeq, TaskId);

/// All waiting tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pools: BTreeMap<PoolName, Ranked<Place>>,
    len: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, id: TaskId, task: &Task) {
        let places = self.pools.entry(task.pool.clone()).or_default();
        self.len += usize::from(places.insert((task.turn, task.seq, id)));
    }

    pub(crate) fn remove(&mut self, id: TaskId, task: &Task) {
        let place = (task.turn, task.seq, id);
        self.len -= usize::from(self.pools.get_mut(&task.pool).is_some_and(|places| places.remove(&place)));
    }

    pub(crate) fn pop(&mut self, pool: &PoolName) -> Option<TaskId> {
        let (_, _, id) = self.pools.get_mut(pool)?.pop_first()?;
        self.len -= 1;
        Some(id)
    }

    pub(crate) fn is_empty(&self, pool: &PoolName) -> bool {
        self.pools.get(pool).is_none_or(Ranked::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, id: TaskId, task: &Task) -> bool {
        let place = (task.turn, task.seq, id);
        self.pools.get(&task.pool).is_some_and(|places| places.contains(&place))
    }

    /// How many tasks go before this one.
    pub(crate) fn ahead(&self, id: TaskId, task: &Task) -> usize {
        let place = (task.turn, task.seq, id);
        self.pools.get(&task.pool).map_or(0, |places| places.rank(&place))
    }
}
