//! The core's changes as rows.
//!
//! Everything here may be done a second time with the same effect: a commit whose failure was
//! reported may have reached the disk, and is then tried again.

use clb_core::fleet::Standing;
use clb_core::output::{Change, Ending, LastAttempt};
use clb_protocol::api::{Obituary, TaskError, TaskState};
use clb_protocol::task::NewTask;
use clb_protocol::{AttemptNo, Epoch, OutcomeSeq, SubmissionSeq, TaskId, Timestamp, WorkerId};
use rusqlite::{Connection, OptionalExtension, params};
use rustc_hash::{FxHashMap, FxHashSet};

use super::failure::to_json;
use super::registry::KEPT_OBITUARIES;
use super::statements::{FORGET_POOL, ORDER_SLOT, SAVE_POOL, Statements};
use crate::{Result, StoreError};

/// How many tasks a commit added and ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
}

/// What is remembered of a task that will change again.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskRow {
    seq: i64,
    has_group: bool,
}

/// One batch's changes on their way into one transaction.
pub(super) struct Application<'c, 'b> {
    connection: &'c Connection,
    sql: Statements<'c>,
    rows: &'b mut FxHashMap<TaskId, TaskRow>,
    /// The tasks that end in this batch, each with its last attempt when nothing but its start and the
    /// task's end concerns it: what only lasts until then need not be written.
    ending: FxHashMap<TaskId, Option<AttemptNo>>,
    /// Tasks of this batch that were not written as open.
    unopened: FxHashSet<TaskId>,
    /// Tasks of this batch the start of whose last attempt was not written.
    unstarted: FxHashSet<TaskId>,
    duplicates: FxHashSet<TaskId>,
    tally: Tally,
}

impl<'c, 'b> Application<'c, 'b> {
    pub(super) fn new(
        connection: &'c Connection,
        rows: &'b mut FxHashMap<TaskId, TaskRow>,
        changes: &[Change],
    ) -> Result<Self> {
        let ends = changes.iter().filter_map(|change| match change {
            Change::TaskEnded { task, last, .. } => Some((*task, last.as_ref().map(|last| last.attempt))),
            _ => None,
        });
        let mut ending: FxHashMap<TaskId, Option<AttemptNo>> = ends.collect();
        for change in changes {
            if let Change::AttemptEnded { task, .. } | Change::AttemptJudged { task, .. } = change
                && let Some(last) = ending.get_mut(task)
            {
                *last = None;
            }
        }
        Ok(Self {
            connection,
            sql: Statements::prepare(connection)?,
            rows,
            ending,
            unopened: FxHashSet::default(),
            unstarted: FxHashSet::default(),
            duplicates: FxHashSet::default(),
            tally: Tally::default(),
        })
    }

    /// The duplicates that were left out, and what was added.
    pub(super) fn finish(self) -> (Vec<TaskId>, Tally) {
        (self.duplicates.into_iter().collect(), self.tally)
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        if let Some(task) = task_of(change)
            && self.duplicates.contains(&task)
        {
            return Ok(());
        }
        match change {
            Change::TaskAccepted { seq, at, task } => self.accept(*seq, *at, task),
            Change::AttemptStarted { task, attempt, worker, epoch, at } => {
                self.start(*task, *attempt, worker, *epoch, *at)
            }
            Change::AttemptEnded { task, attempt, at, verdict, costs } => {
                let row = self.row(*task)?.seq;
                let verdict = verdict.as_ref().map(to_json).transpose()?;
                self.sql.end_attempt.execute(params![at.0, verdict, costs, row, attempt.0])?;
                Ok(())
            }
            // A worker may hold results of tasks that a restored backup does not know.
            Change::AttemptJudged { task, attempt, verdict, costs } => {
                let Some(TaskRow { seq: row, .. }) = self.find(*task)? else { return Ok(()) };
                self.sql.judge_attempt.execute(params![to_json(verdict)?, costs, row, attempt.0])?;
                Ok(())
            }
            Change::TaskEnded { seq, task, at, ending, last } => {
                self.end(*seq, *task, *at, ending, last.as_ref())
            }
            Change::CancelledOutputKept { task, attempt, result } => {
                let Some(TaskRow { seq: row, .. }) = self.find(*task)? else { return Ok(()) };
                self.sql.keep_output.execute(params![result.get(), row, attempt.0])?;
                Ok(())
            }
            Change::SlotFilled { pool, slot, generation } => {
                self.sql.fill_slot.execute(params![pool.as_str(), slot.0, generation.0 as i64])?;
                Ok(())
            }
            Change::PoolSaved { name, spec, is_paused } => {
                let spec = spec.as_deref().map(to_json).transpose()?;
                let mut save = self.connection.prepare_cached(SAVE_POOL)?;
                save.execute(params![name.as_str(), spec, is_paused])?;
                Ok(())
            }
            Change::PoolForgotten(name) => {
                self.connection.prepare_cached(FORGET_POOL)?.execute([name.as_str()])?;
                Ok(())
            }
            Change::SlotOrdered { pool, slot, standing } => {
                let standing = match standing {
                    Standing::Serve => None,
                    Standing::Drain => Some("drain"),
                    Standing::Restart => Some("restart"),
                };
                let mut order = self.connection.prepare_cached(ORDER_SLOT)?;
                order.execute(params![pool.as_str(), slot.0, standing])?;
                Ok(())
            }
            Change::Died(obituary) => self.bury(obituary),
        }
    }

    fn accept(&mut self, seq: SubmissionSeq, at: Timestamp, task: &NewTask) -> Result<()> {
        let row = seq.0 as i64;
        let labels = if task.labels.is_empty() { None } else { Some(to_json(&task.labels)?) };
        let added = self.sql.add_task.execute(params![
            row,
            task.id.as_bytes(),
            task.pool.as_str(),
            task.priority,
            task.group,
            labels,
            task.spec.work.kind().as_str(),
            to_json(&task.spec)?,
            task.spec.max_attempts,
            task.spec.timeout,
            task.idempotency_key,
            at.0,
            task.spec.retry.as_ref().map(to_json).transpose()?,
            task.not_before.map(|at| at.0),
            task.replay_of.as_ref().map(TaskId::as_bytes),
        ])?;
        if added == 0 {
            return self.known(row, task);
        }
        self.rows.insert(task.id, TaskRow { seq: row, has_group: task.group.is_some() });
        self.tally.accepted += 1;
        if self.ending.contains_key(&task.id) {
            self.unopened.insert(task.id);
        } else {
            self.sql.open_task.execute([row])?;
        }
        Ok(())
    }

    /// Tells a duplicate from a submission that an earlier try of this batch has stored.
    fn known(&mut self, row: i64, task: &NewTask) -> Result<()> {
        let by_id: Option<i64> =
            self.sql.find_task.query_row([task.id.as_bytes()], |found| found.get(0)).optional()?;
        if by_id == Some(row) {
            return Ok(());
        }
        let by_key = match &task.idempotency_key {
            Some(key) => self.sql.find_key.query_row([key], |found| found.get::<_, i64>(0)).optional()?,
            None => None,
        };
        let by_replay = match &task.replay_of {
            Some(of) => {
                let found = self.sql.find_replay.query_row([of.as_bytes()], |found| found.get::<_, i64>(0));
                found.optional()?
            }
            None => None,
        };
        if by_id.or(by_key).or(by_replay).is_none() {
            let detail = format!("submission {row} is stored with another task than {}", task.id);
            return Err(StoreError::Conflict { detail });
        }
        self.duplicates.insert(task.id);
        Ok(())
    }

    fn start(
        &mut self,
        task: TaskId,
        attempt: AttemptNo,
        worker: &WorkerId,
        epoch: Epoch,
        at: Timestamp,
    ) -> Result<()> {
        if self.ending.get(&task) == Some(&Some(attempt)) {
            self.unstarted.insert(task);
            return Ok(());
        }
        let row = self.row(task)?.seq;
        self.sql.start_attempt.execute(params![
            row,
            attempt.0,
            worker.pool.as_str(),
            worker.slot.0,
            worker.generation.0 as i64,
            epoch.0 as i64,
            at.0,
        ])?;
        Ok(())
    }

    fn end(
        &mut self,
        seq: OutcomeSeq,
        task: TaskId,
        at: Timestamp,
        ending: &Ending,
        last: Option<&LastAttempt>,
    ) -> Result<()> {
        let TaskRow { seq: row, has_group } = self.row(task)?;
        if !self.unopened.remove(&task) && self.sql.close_task.execute([row])? == 0 {
            return self.ended_before(seq, task, row);
        }
        if let Some(last) = last {
            self.end_last(task, row, at, last)?;
        }
        let cancelled = TaskError::cancelled();
        let (state, result, error) = match ending {
            Ending::Succeeded(result) => (TaskState::Succeeded, Some(result.get()), None),
            Ending::Failed(error, result) => {
                (TaskState::Failed, result.as_ref().map(|result| result.get()), Some(error))
            }
            Ending::Cancelled => (TaskState::Cancelled, None, Some(&cancelled)),
        };
        match ending {
            Ending::Succeeded(_) => self.tally.succeeded += 1,
            Ending::Failed(..) => self.tally.failed += 1,
            Ending::Cancelled => self.tally.cancelled += 1,
        }
        self.sql.add_outcome.execute(params![
            seq.0 as i64,
            row,
            state.as_str(),
            at.0,
            result,
            error.map(|error| &error.code),
            error.map(|error| &error.message),
            has_group,
        ])?;
        self.rows.remove(&task);
        Ok(())
    }

    fn end_last(&mut self, task: TaskId, row: i64, at: Timestamp, last: &LastAttempt) -> Result<()> {
        let write = if self.unstarted.remove(&task) {
            &mut self.sql.whole_attempt
        } else {
            &mut self.sql.last_attempt
        };
        write.execute(params![
            row,
            last.attempt.0,
            last.worker.pool.as_str(),
            last.worker.slot.0,
            last.worker.generation.0 as i64,
            last.epoch.0 as i64,
            last.started_at.0,
            at.0,
            last.verdict.as_ref().map(to_json).transpose()?,
        ])?;
        Ok(())
    }

    /// A task that is not open has its one outcome: fine when it is this one.
    fn ended_before(&mut self, seq: OutcomeSeq, task: TaskId, row: i64) -> Result<()> {
        let stored: Option<i64> = self.sql.find_outcome.query_row([row], |found| found.get(0)).optional()?;
        if stored == Some(seq.0 as i64) {
            return Ok(());
        }
        let detail = format!("task {task} ended with outcome {stored:?} and cannot end again as {seq}");
        Err(StoreError::Conflict { detail })
    }

    fn bury(&mut self, obituary: &Obituary) -> Result<()> {
        self.sql.bury.execute(params![
            obituary.pool.as_str(),
            obituary.slot.0,
            obituary.generation.0 as i64,
            to_json(obituary)?,
        ])?;
        self.sql.forget_dead.execute([KEPT_OBITUARIES])?;
        Ok(())
    }

    fn row(&mut self, task: TaskId) -> Result<TaskRow> {
        let detail = || format!("task {task} was never accepted");
        self.find(task)?.ok_or_else(|| StoreError::Conflict { detail: detail() })
    }

    fn find(&mut self, task: TaskId) -> Result<Option<TaskRow>> {
        if let Some(row) = self.rows.get(&task) {
            return Ok(Some(*row));
        }
        let read = |found: &rusqlite::Row<'_>| Ok(TaskRow { seq: found.get(0)?, has_group: found.get(1)? });
        let row = self.sql.find_task.query_row([task.as_bytes()], read).optional()?;
        self.rows.extend(row.map(|row| (task, row)));
        Ok(row)
    }
}

fn task_of(change: &Change) -> Option<TaskId> {
    match change {
        Change::TaskAccepted { .. }
        | Change::SlotFilled { .. }
        | Change::PoolSaved { .. }
        | Change::PoolForgotten(_)
        | Change::SlotOrdered { .. }
        | Change::Died(_) => None,
        Change::AttemptStarted { task, .. }
        | Change::AttemptEnded { task, .. }
        | Change::AttemptJudged { task, .. }
        | Change::CancelledOutputKept { task, .. }
        | Change::TaskEnded { task, .. } => Some(*task),
    }
}
