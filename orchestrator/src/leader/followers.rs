//! Who waits for a task to run, or to run again, or to have ended.

use clb_core::Cluster;
use clb_core::output::Change;
use clb_protocol::{AttemptNo, TaskId};
use tokio::sync::oneshot;

use super::callers::{Callers, Reply};

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

/// One who waits for this attempt or a later one.
#[derive(Debug)]
struct Follower {
    from: AttemptNo,
    reply: oneshot::Sender<Whereabouts>,
}

impl Reply for Follower {
    fn is_closed(&self) -> bool {
        self.reply.is_closed()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Followers(Callers<Follower>);

impl Followers {
    /// Waits for this attempt or a later one.
    pub(super) fn add(&mut self, task: TaskId, from: AttemptNo, reply: oneshot::Sender<Whereabouts>) {
        self.0.add(task, Follower { from, reply });
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
        for follower in self.0.take(task) {
            let _ = follower.reply.send(Whereabouts::Ended);
        }
    }

    fn tell(&mut self, task: TaskId, is: &Whereabouts) {
        let Whereabouts::Running { attempt, .. } = is else { return };
        for follower in self.0.take_if(task, |follower| follower.from <= *attempt) {
            let _ = follower.reply.send(is.clone());
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
