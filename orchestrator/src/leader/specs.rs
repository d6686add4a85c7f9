//! What workers have to know of tasks that were accepted a moment ago and wait for a slot. Bounded: the specs
//! of tasks that wait for long are read from the store when their turn comes.

use clb_core::output::Change;
use clb_protocol::{TaskId, Timestamp};
use clb_store::Workload;
use rustc_hash::FxHashMap;

/// The most bytes of specs that are kept.
const CAPACITY_BYTES: usize = 16 << 20;

/// Specs by task.
#[derive(Debug, Default)]
pub(super) struct Specs {
    kept: FxHashMap<TaskId, Workload>,
    bytes: usize,
}

impl Specs {
    /// Keeps the specs of what was accepted and may run now, and lets go of those that nobody will run.
    pub(super) fn take_in(&mut self, changes: &[Change], now: Timestamp) {
        for change in changes {
            match change {
                Change::TaskAccepted { task, .. } if task.not_before.is_none_or(|at| at <= now) => {
                    if let Ok(spec) = serde_json::value::to_raw_value(&task.spec) {
                        self.keep(task.id, Workload { spec, group: task.group.clone() });
                    }
                }
                Change::TaskEnded { task, .. } => drop(self.take(*task)),
                _ => {}
            }
        }
    }

    /// Lets go of tasks that were not stored.
    pub(super) fn forget(&mut self, ids: &[TaskId]) {
        for id in ids {
            self.take(*id);
        }
    }

    /// Takes a spec out: a task is mostly run once.
    pub(super) fn take(&mut self, id: TaskId) -> Option<Workload> {
        let spec = self.kept.remove(&id)?;
        self.bytes -= spec.bytes();
        Some(spec)
    }

    /// Keeps a spec while there is room.
    fn keep(&mut self, id: TaskId, spec: Workload) {
        let bytes = spec.bytes();
        if self.bytes + bytes <= CAPACITY_BYTES {
            self.bytes += bytes;
            if let Some(former) = self.kept.insert(id, spec) {
                self.bytes -= former.bytes();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<TaskId> {
        let mut kept: Vec<TaskId> = self.kept.keys().copied().collect();
        kept.sort();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_makes_room() {
        let mut specs = Specs::default();
        let (first, second) = (TaskId::from_bytes([1; 16]), TaskId::from_bytes([2; 16]));
        let spec = serde_json::value::to_raw_value(&"x".repeat(CAPACITY_BYTES - 1_000)).unwrap();
        let large = Workload { spec, group: None };
        specs.keep(first, large.clone());
        specs.keep(second, large.clone());
        assert!(specs.take(second).is_none());
        assert!(specs.take(first).is_some());
        specs.keep(second, large);
        assert!(specs.take(second).is_some());
    }
}
