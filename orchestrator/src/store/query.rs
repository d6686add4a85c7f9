//! What pages ask for and what they get.

use clb_protocol::api::{LogView, Obituary, TaskState, TaskView};
use clb_protocol::task::{Changes, FieldError, Labels, NewTask, TaskSpec};
use clb_protocol::{LogSeq, PoolName, SubmissionSeq, TaskId, TaskIdPart, Timestamp};
use serde_json::value::RawValue;

/// What the store has under a new task's idempotency key or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// The same task, under this id: submitting it again changes nothing.
    Same(TaskId),
    /// Another task.
    Different {
        /// Its id.
        id: TaskId,
        /// The fields in which it differs, as a request names them.
        fields: Vec<String>,
    },
}

/// Which tasks to list; an empty one lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskFilter {
    /// Only those that stand there.
    pub(crate) state: Option<TaskState>,
    /// Only those without an outcome, wherever they stand; says nothing beside a state.
    pub(crate) is_open: bool,
    /// Only those whose id begins or ends so.
    pub(crate) id: Option<TaskIdPart>,
    /// Only those that a replay stands for, or only those that stand for themselves.
    pub(crate) is_replayed: Option<bool>,
    /// Only those of this pool.
    pub(crate) pool: Option<PoolName>,
    /// Only those of this group.
    pub(crate) group: Option<String>,
    /// Only those with all of these labels, key and value.
    pub(crate) labels: Vec<(String, String)>,
}

/// A part of the list of tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskList {
    /// Newest first.
    pub(crate) tasks: Vec<TaskView>,
    /// Pass it as `before` to go on; `None` at the end.
    pub(crate) next: Option<SubmissionSeq>,
}

/// A part of the list of tasks, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdList {
    /// Newest first.
    pub(crate) ids: Vec<TaskId>,
    /// Pass it as `before` to go on; `None` at the end.
    pub(crate) next: Option<SubmissionSeq>,
}

/// A task, as far as a replay of it is made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Original {
    /// Which one.
    pub(crate) id: TaskId,
    /// Whether it has an outcome.
    pub(crate) has_ended: bool,
    /// The replay of it that there is already.
    pub(crate) replay: Option<TaskId>,
    /// Its pool.
    pub(crate) pool: PoolName,
    /// Its priority.
    pub(crate) priority: i8,
    /// What it belongs to.
    pub(crate) group: Option<String>,
    /// What is noted on it.
    pub(crate) labels: Labels,
    /// What it does.
    pub(crate) spec: TaskSpec,
}

impl Original {
    /// The task that does its work again, at once and under a name of its own.
    pub(crate) fn again(mut self, fresh: TaskId, changes: &Changes) -> Result<NewTask, FieldError> {
        changes.apply(&mut self.pool, &mut self.spec)?;
        Ok(NewTask {
            id: fresh,
            spec: self.spec,
            pool: self.pool,
            priority: self.priority,
            not_before: None,
            group: self.group,
            labels: self.labels,
            idempotency_key: None,
            replay_of: Some(self.id),
        })
    }
}

/// A part of the list of dead containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ObituaryList {
    /// Newest first.
    pub(crate) obituaries: Vec<Obituary>,
    /// Pass it as `before` to go on; `None` at the end.
    pub(crate) next: Option<u64>,
}

/// Which log lines to read; an empty one reads all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// Only those of containers with this name, of any generation.
    pub(crate) container: Option<String>,
    /// Only those that speak of this task.
    pub(crate) task: Option<TaskId>,
}

/// Where to read log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFrom {
    /// The oldest lines after this one.
    After(LogSeq),
    /// The newest lines before this one.
    Before(LogSeq),
    /// The newest lines of all.
    End,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogRead {
    /// Oldest first, whichever way it was read.
    pub(crate) logs: Vec<LogView>,
    /// Pass it to [`LogFrom::After`] to go on to newer lines.
    pub(crate) newer: LogSeq,
    /// Pass it to [`LogFrom::Before`] to go on to older lines; `None` where the log begins.
    pub(crate) older: Option<LogSeq>,
}

/// How much is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Rows by table.
    pub(crate) tables: Vec<(&'static str, u64)>,
    /// Bytes on disk, those not yet merged into the main file included.
    pub(crate) bytes: u64,
    /// When something was committed last.
    pub(crate) last_commit_at: Option<Timestamp>,
}

/// What it takes to keep a small text by a task: its place in a table that is half empty, and two allocations.
const KEPT_BYTES: usize = 160;

/// What a worker has to know to run a task.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Its spec, as JSON.
    pub(crate) spec: Box<RawValue>,
    /// What it belongs to.
    pub(crate) group: Option<String>,
}

impl Workload {
    /// How much memory it takes, roughly, where it is kept by its task.
    pub(crate) fn bytes(&self) -> usize {
        KEPT_BYTES + self.spec.get().len() + self.group.as_ref().map_or(0, String::len)
    }
}
