//! What is to be committed next, and what waits for it.
//!
//! Submissions, outcomes and cancellations go to disk at once, for somebody waits for them. The start
//! of an attempt and log lines ride along with them, or go by themselves after [`START_LIMIT`] and
//! [`LINES_LIMIT`]: workers say what they run, so a start that is not on record is no loss. A start whose
//! task ends before it was written need not be written at all, for the end has everything that it says.

use std::time::Duration;

use clb_core::input::LinkNo;
use clb_core::output::{CancelReceipt, Change, FleetAction};
use clb_protocol::api::WorkerView;
use clb_protocol::{AttemptNo, TaskId};
use clb_store::{Batch, Member};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::{PoolAnswer, Refused, Submitted};
use super::logbook::Logbook;

/// How long the start of an attempt may stay unwritten.
const START_LIMIT: Duration = Duration::from_millis(20);
/// How long log lines may stay unwritten. Longer than a short task takes: its lines go with its outcome, or with the
/// next task, and no write of their own is under way when somebody comes who waits for one.
const LINES_LIMIT: Duration = Duration::from_millis(100);

/// With so many changes a batch takes no more tasks in, so that neither its commit and what follows from it take long
/// nor its tasks much memory.
const FULL: usize = 2_000;

/// What waits for a batch to be on disk.
#[derive(Debug)]
pub(super) enum Release {
    /// The answer to a submission.
    Submission { statuses: Vec<(TaskId, Submitted)>, reply: oneshot::Sender<Vec<(TaskId, Submitted)>> },
    /// The answer to a cancellation.
    Cancellation { receipts: Vec<CancelReceipt>, reply: oneshot::Sender<Result<Vec<CancelReceipt>, Refused>> },
    /// The answer to a wish about a pool.
    Pool { answer: PoolAnswer, reply: oneshot::Sender<Result<PoolAnswer, Refused>> },
    /// The answer to an order for a worker.
    Order { worker: Option<Box<WorkerView>>, reply: oneshot::Sender<Result<Option<WorkerView>, Refused>> },
    /// The acknowledgement of a result.
    Ack(LinkNo, TaskId, AttemptNo),
    /// The news that a task has ended.
    Ended(TaskId),
    /// Something to do to the fleet. A leader whose term is over must do nothing to it any more.
    Fleet(FleetAction),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    batch: Batch,
    releases: Vec<Release>,
    /// Starts of attempts that may be needless, in order.
    starts: Vec<Option<Change>>,
    start_of: FxHashMap<TaskId, usize>,
    /// Since when a start is unwritten.
    starts_since: Option<Instant>,
    /// Since when there are lines in the logbook.
    lines_since: Option<Instant>,
    is_urgent: bool,
}

impl Pending {
    /// Adds a change.
    pub(super) fn push(&mut self, change: Change) {
        match &change {
            Change::AttemptStarted { task, .. } => {
                let task = *task;
                self.write_start_of(task, None);
                self.start_of.insert(task, self.starts.len());
                self.starts.push(Some(change));
                self.starts_since.get_or_insert_with(Instant::now);
                return;
            }
            Change::TaskEnded { task, last, .. } => {
                self.write_start_of(*task, last.as_ref().map(|last| last.attempt));
            }
            Change::AttemptEnded { task, .. } | Change::AttemptJudged { task, .. } => {
                self.write_start_of(*task, None);
            }
            Change::TaskAccepted { .. }
            | Change::CancelledOutputKept { .. }
            | Change::SlotFilled { .. }
            | Change::PoolSaved { .. }
            | Change::PoolForgotten(_)
            | Change::SlotOrdered { .. }
            | Change::Died(_) => {}
        }
        self.batch.changes.push(change);
        self.is_urgent = true;
    }

    /// Adds what waits for all that was added so far.
    pub(super) fn push_release(&mut self, release: Release) {
        self.releases.push(release);
        self.is_urgent = true;
    }

    /// Adds an orchestrator that is new or changed.
    pub(super) fn push_member(&mut self, member: Member) {
        self.batch.members.push(member);
        self.is_urgent = true;
    }

    /// Something was added to the logbook, which is drained into the next batch.
    pub(super) fn ride(&mut self) {
        self.lines_since.get_or_insert_with(Instant::now);
    }

    /// When the next batch is due; `None` when there is nothing for it.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.is_urgent {
            return Some(Instant::now());
        }
        let starts = self.starts_since.map(|since| since + START_LIMIT);
        let lines = self.lines_since.map(|since| since + LINES_LIMIT);
        starts.into_iter().chain(lines).min()
    }

    /// Takes everything that is to be written now.
    pub(super) fn take(&mut self, logbook: &mut Logbook, now: Instant) -> (Batch, Vec<Release>) {
        if self.starts_since.is_some_and(|since| since + START_LIMIT <= now) {
            self.write_starts();
        } else if self.start_of.is_empty() {
            self.starts.clear();
            self.starts_since = None;
        }
        logbook.drain_into(&mut self.batch);
        self.lines_since = None;
        self.is_urgent = false;
        (std::mem::take(&mut self.batch), std::mem::take(&mut self.releases))
    }

    /// Whether there is room for more tasks in the next batch.
    pub(super) fn has_room(&self) -> bool {
        self.batch.changes.len() < FULL
    }

    /// Puts every start into the next batch: there will be no end for them in this term.
    pub(super) fn write_starts(&mut self) {
        self.start_of.clear();
        self.batch.changes.extend(self.starts.drain(..).flatten());
        self.starts_since = None;
    }

    /// Lets nothing ride any longer: the next batch is due.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// Prepares the last batch of a term; says whether there is anything for it.
    pub(super) fn wind_up(&mut self) -> bool {
        self.is_urgent |= self.starts_since.or(self.lines_since).is_some();
        self.write_starts();
        self.is_urgent
    }

    /// Puts back what could not be written, before everything that came since, without the submissions
    /// of both: these are refused, and returned. Nobody is left waiting for an answer, though what was
    /// cancelled or changed may still get to the disk.
    pub(super) fn put_back(&mut self, mut batch: Batch, releases: Vec<Release>, reason: &str) -> Vec<TaskId> {
        let refused = accepted(&batch).chain(accepted(&self.batch)).collect();
        let is_kept = |change: &Change| !matches!(change, Change::TaskAccepted { .. });
        batch.changes.retain(is_kept);
        batch.changes.extend(self.batch.changes.drain(..).filter(is_kept));
        batch.containers.append(&mut self.batch.containers);
        batch.forgotten.append(&mut self.batch.forgotten);
        batch.members.append(&mut self.batch.members);
        self.batch = batch;
        self.is_urgent = true;
        let waiting = std::mem::take(&mut self.releases);
        for release in releases.into_iter().chain(waiting) {
            match release {
                Release::Submission { mut statuses, reply } => {
                    for (_, status) in &mut statuses {
                        *status = Submitted::Refused(reason.to_owned());
                    }
                    // A caller that hung up gets its answer when it asks again.
                    drop(reply.send(statuses));
                }
                Release::Cancellation { reply, .. } => drop(reply.send(Err(Refused(reason.to_owned())))),
                Release::Pool { reply, .. } => drop(reply.send(Err(Refused(reason.to_owned())))),
                Release::Order { reply, .. } => drop(reply.send(Err(Refused(reason.to_owned())))),
                other => self.releases.push(other),
            }
        }
        refused
    }

    /// Writes the start of a task's attempt that is not written yet, unless it is `needless`.
    fn write_start_of(&mut self, task: TaskId, needless: Option<AttemptNo>) {
        let Some(place) = self.start_of.remove(&task) else { return };
        let Some(start) = self.starts[place].take() else { return };
        let is_needless =
            matches!(&start, Change::AttemptStarted { attempt, .. } if Some(*attempt) == needless);
        if !is_needless {
            self.batch.changes.push(start);
        }
    }
}

/// The submissions in a batch.
pub(super) fn accepted(batch: &Batch) -> impl Iterator<Item = TaskId> + '_ {
    batch.changes.iter().filter_map(|change| match change {
        Change::TaskAccepted { task, .. } => Some(task.id),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clb_core::output::{Ending, LastAttempt};
    use clb_protocol::{Epoch, Generation, LogSeq, OutcomeSeq, SlotNo, Timestamp, WorkerId};

    use super::*;

    const TASK: TaskId = TaskId::from_bytes([7; 16]);

    fn worker() -> WorkerId {
        WorkerId { pool: "default".into(), slot: SlotNo(1), generation: Generation(1) }
    }

    fn started(attempt: u32) -> Change {
        let (attempt, epoch, at) = (AttemptNo(attempt), Epoch(1), Timestamp(0));
        Change::AttemptStarted { task: TASK, attempt, worker: worker(), epoch, at }
    }

    fn ended(attempt: u32) -> Change {
        let last = LastAttempt {
            attempt: AttemptNo(attempt),
            worker: worker(),
            epoch: Epoch(1),
            started_at: Timestamp(0),
            verdict: None,
        };
        let (seq, at, ending) = (OutcomeSeq(1), Timestamp(1), Ending::Cancelled);
        Change::TaskEnded { seq, task: TASK, at, ending, last: Some(last) }
    }

    fn lost(attempt: u32) -> Change {
        let (attempt, at) = (AttemptNo(attempt), Timestamp(1));
        Change::AttemptEnded { task: TASK, attempt, at, verdict: None, costs: true }
    }

    fn written(pending: &mut Pending, after: Duration) -> Vec<&'static str> {
        let mut logbook = Logbook::resume(&[], LogSeq(0));
        let (batch, _) = pending.take(&mut logbook, Instant::now() + after);
        let name = |change: &Change| match change {
            Change::AttemptStarted { .. } => "start",
            Change::AttemptEnded { .. } => "loss",
            Change::TaskEnded { .. } => "end",
            _ => "other",
        };
        batch.changes.iter().map(name).collect()
    }

    #[test]
    fn a_start_waits_a_little_and_is_written_by_itself_then() {
        let mut pending = Pending::default();
        pending.push(started(1));
        assert!(pending.due().is_some_and(|due| due > Instant::now()));
        assert!(written(&mut pending, Duration::ZERO).is_empty());
        assert_eq!(written(&mut pending, START_LIMIT), ["start"]);
        assert_eq!(pending.due(), None);
    }

    #[test]
    fn lines_wait_longer_than_starts_and_go_with_whatever_is_written_before() {
        let mut pending = Pending::default();
        pending.ride();
        let lines_due = pending.due().unwrap();
        pending.push(started(1));
        assert!(pending.due().unwrap() < lines_due);
        pending.push(ended(1));
        assert_eq!(written(&mut pending, Duration::ZERO), ["end"]);
        assert_eq!(pending.due(), None, "nothing is left that would need a write of its own");
    }

    #[test]
    fn the_end_of_the_same_attempt_makes_its_start_needless() {
        let mut pending = Pending::default();
        pending.push(started(1));
        pending.push(ended(1));
        assert!(pending.due().is_some_and(|due| due <= Instant::now()));
        assert_eq!(written(&mut pending, START_LIMIT), ["end"]);
    }

    #[test]
    fn a_start_is_written_before_everything_else_that_concerns_its_task() {
        let mut pending = Pending::default();
        for change in [started(1), lost(1), started(2), ended(1)] {
            pending.push(change);
        }
        assert_eq!(written(&mut pending, Duration::ZERO), ["start", "loss", "start", "end"]);
    }

    #[tokio::test]
    async fn what_the_store_refused_is_kept_and_submitters_hear_of_it() {
        let mut pending = Pending::default();
        let (reply, mut answer) = oneshot::channel();
        pending.push(ended(1));
        pending.push_release(Release::Ended(TASK));
        pending.push_release(Release::Submission {
            statuses: vec![(TASK, Submitted::Accepted(Timestamp(0)))],
            reply,
        });
        let (batch, releases) = pending.take(&mut Logbook::resume(&[], LogSeq(0)), Instant::now());
        assert!(pending.put_back(batch, releases, "full").is_empty());
        assert_eq!(answer.try_recv().unwrap(), [(TASK, Submitted::Refused("full".to_owned()))]);
        assert_eq!(written(&mut pending, Duration::ZERO), ["end"]);
    }
}
