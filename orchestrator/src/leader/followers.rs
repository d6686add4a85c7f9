//! Who waits for a task to run, or to run again, or to have ended.

use std::collections::BTreeMap;

use clb_core::Cluster;
use clb_core::output::Change;
use clb_protocol::{AttemptNo, TaskId};
use tokio::sync::oneshot;

/// Where a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It waits.
    Waiting,
    /// A worker has it.
    Running {
        /// In this attempt.
        attempt: AttemptNo,
        /// The worker's stable name.
        worker: String,
    },
    /// It has ended, and the store has the outcome; or there is no such task.
    Ended,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Followers(BTreeMap<TaskId, Vec<(AttemptNo, oneshot::Sender<Whereabouts>)>>);

impl Followers {
    /// Waits for this attempt or a later one.
    pub(super) fn add(&mut self, task: TaskId, from: AttemptNo, reply: oneshot::Sender<Whereabouts>) {
        let waiting = self.0.entry(task).or_default();
        waiting.retain(|(_, reply)| !reply.is_closed());
        waiting.push((from, reply));
    }

    /// Tells who waits for an attempt that has begun.
    pub(super) fn take_in(&mut self, changes: &[Change], cluster: &Cluster) {
        if self.0.is_empty() {
            return;
        }
        for change in changes {
            if let Change::AttemptStarted { task, .. } = change {
                self.tell(*task, &whereabouts(cluster, *task));
            }
        }
    }

    /// Tells who waits for a task whose outcome is on disk.
    pub(super) fn end(&mut self, task: TaskId) {
        for (_, reply) in self.0.remove(&task).unwrap_or_default() {
            let _ = reply.send(Whereabouts::Ended);
        }
    }

    fn tell(&mut self, task: TaskId, is: &Whereabouts) {
        let Whereabouts::Running { attempt, .. } = is else { return };
        let Some(waiting) = self.0.get_mut(&task) else { return };
        for (_, reply) in waiting.extract_if(.., |(from, reply)| *from <= *attempt || reply.is_closed()) {
            let _ = reply.send(is.clone());
        }
        if waiting.is_empty() {
            self.0.remove(&task);
        }
    }
}

/// Where a task is that has not ended.
pub(super) fn whereabouts(cluster: &Cluster, task: TaskId) -> Whereabouts {
    cluster.running_attempt(task).map_or(Whereabouts::Waiting, |running| Whereabouts::Running {
        attempt: running.attempt,
        worker: running.worker.name(),
    })
}
