//! What callers ask of tasks: to take them, to cancel them.

use std::sync::Arc;
use std::time::Duration;

use clb_protocol::TaskId;
use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::task::NewTask;

use crate::clock::Moment;
use crate::input::Cancellable;
use crate::output::{CancelReceipt, Change, Ending, Note, Output, Receipt};

use super::Cluster;

impl Cluster {
    pub(super) fn accept(&mut self, tasks: Vec<Arc<NewTask>>, now: Moment, out: &mut Output) {
        for new in tasks {
            let id = new.id;
            let receipt = if self.tasks.contains(id) {
                Receipt::Known
            } else if self.pools.get(&new.pool).is_none_or(|pool| pool.is_removing) {
                Receipt::NoSuchPool
            } else if self.tasks.waiting() >= self.config.queue_limit {
                Receipt::QueueFull
            } else {
                self.take_in(new, now, out);
                Receipt::Accepted
            };
            out.receipts.push((id, receipt));
        }
    }

    fn take_in(&mut self, task: Arc<NewTask>, now: Moment, out: &mut Output) {
        // In the order of their coming, even when the clock on the wall is set back between them.
        let comes_at = self.began_at.foretell(now);
        let waits_since = comes_at + task.not_before.map_or(Duration::ZERO, |until| until.since(now.at));
        let seq = self.tasks.accept(&task, waits_since);
        out.notes.push(Note::ReceivedPayload(task.id));
        out.changes.push(Change::TaskAccepted { seq, at: now.at, task });
    }

    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        which: Cancellable,
        now: Moment,
        out: &mut Output,
    ) -> CancelReceipt {
        let Some(task) = self.tasks.get(id).filter(|task| task.is_stored()) else {
            return CancelReceipt::NotOpen;
        };
        let is_meant = match which {
            Cancellable::Open => true,
            Cancellable::Waiting => task.running().is_none(),
            Cancellable::Running => task.running().is_some(),
        };
        if !is_meant {
            return CancelReceipt::Spared;
        }
        let verdict = Verdict::new(VerdictKind::Cancelled, "A caller cancelled the task");
        self.end(id, Ending::Cancelled, None, Some(verdict), now, out);
        CancelReceipt::Cancelled
    }
}
