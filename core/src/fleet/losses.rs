//! Attempts that workers had and whose end is open: lost ones without a verdict, and those of a former leader that
//! no worker has claimed yet.

use std::collections::BTreeMap;

use clb_protocol::{AttemptNo, TaskId, WorkerId};

use crate::clock::Moment;

use super::{Fleet, Held, Slot, SlotKey, key_of};

impl Fleet {
    /// Takes everything that a slot's worker runs away from it.
    pub(crate) fn take_running(&mut self, key: &SlotKey) -> BTreeMap<TaskId, Held> {
        let worker = self.slots.get_mut(key).and_then(Slot::worker_mut);
        worker.map(|worker| std::mem::take(&mut worker.running)).unwrap_or_default()
    }

    /// An attempt was lost in a slot.
    pub(crate) fn note_loss(&mut self, key: &SlotKey, lost: (TaskId, AttemptNo), now: Moment) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.unjudged.is_empty() {
            slot.unjudged_since = now;
        }
        slot.unjudged.push(lost);
    }

    /// An attempt that had been lost with a worker goes on; `false` when it was judged already.
    pub(crate) fn forget_loss(&mut self, worker: &WorkerId, lost: (TaskId, AttemptNo)) -> bool {
        let Some(slot) = self.slots.get_mut(&key_of(worker)) else { return false };
        let before = slot.unjudged.len();
        slot.unjudged.retain(|other| *other != lost);
        slot.unjudged.len() < before
    }

    /// What was lost in a slot is about to be judged.
    pub(crate) fn take_unjudged(&mut self, key: &SlotKey) -> Vec<(TaskId, AttemptNo)> {
        self.slots.get_mut(key).map(|slot| std::mem::take(&mut slot.unjudged)).unwrap_or_default()
    }

    /// Whether an attempt of a task was lost in a slot and has no verdict yet.
    pub(crate) fn is_unjudged(&self, task: TaskId) -> bool {
        self.slots.values().any(|slot| slot.unjudged.iter().any(|(other, _)| *other == task))
    }

    /// Whether this attempt was lost with this worker and has no verdict yet.
    pub(crate) fn is_lost_with(&self, worker: &WorkerId, lost: (TaskId, AttemptNo)) -> bool {
        self.slots.get(&key_of(worker)).is_some_and(|slot| slot.unjudged.contains(&lost))
    }

    /// Whether this attempt was lost in a slot that is no more.
    pub(crate) fn is_unjudgeable(&self, lost: (TaskId, AttemptNo)) -> bool {
        self.unjudgeable.contains(&lost)
    }

    /// A former leader did not live to see the verdict on an attempt.
    pub(crate) fn restore_loss(&mut self, worker: &WorkerId, lost: (TaskId, AttemptNo)) {
        match self.slots.get_mut(&key_of(worker)) {
            Some(slot) => slot.unjudged.push(lost),
            None => self.unjudgeable.push(lost),
        }
    }

    /// A former leader had a worker run this attempt.
    pub(crate) fn restore_running(&mut self, worker: &WorkerId, task: TaskId, attempt: AttemptNo) {
        self.unclaimed.entry(worker.clone()).or_default().insert(task, attempt);
    }

    /// Nobody could be judged until now.
    pub(crate) fn begin_judging(&mut self, now: Moment) {
        for slot in self.slots.values_mut() {
            slot.unjudged_since = now;
        }
    }

    /// What a former leader had a worker run, once that worker speaks.
    pub(crate) fn take_claimed(&mut self, worker: &WorkerId) -> BTreeMap<TaskId, AttemptNo> {
        self.unclaimed.remove(worker).unwrap_or_default()
    }

    /// What a former leader had workers run that are not there.
    pub(crate) fn take_unclaimed(&mut self) -> BTreeMap<WorkerId, BTreeMap<TaskId, AttemptNo>> {
        std::mem::take(&mut self.unclaimed)
    }

    /// What was lost in slots that are no more.
    pub(crate) fn take_unjudgeable(&mut self) -> Vec<(TaskId, AttemptNo)> {
        std::mem::take(&mut self.unjudgeable)
    }

    /// Whether a worker, or one that is still looked for, has this attempt.
    pub(crate) fn is_held(&self, worker: &WorkerId, task: TaskId, attempt: AttemptNo) -> bool {
        let is_held = self.slot_of(worker).and_then(Slot::worker).is_some_and(|it| it.holds(task, attempt));
        is_held || self.unclaimed.get(worker).and_then(|all| all.get(&task)) == Some(&attempt)
    }
}
