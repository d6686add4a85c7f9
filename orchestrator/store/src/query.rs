//! What pages ask for and what they get.

use clb_protocol::api::{LogView, Obituary, TaskState, TaskView};
use clb_protocol::task::{Changes, FieldError, Labels, NewTask, TaskSpec};
use clb_protocol::{LogSeq, PoolName, SubmissionSeq, TaskId, TaskIdPart, Timestamp};
use serde_json::value::RawValue;

/// What the store has under a new task's idempotency key or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
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
pub struct TaskFilter {
    /// Only those that stand there.
    pub state: Option<TaskState>,
    /// Only those without an outcome, wherever they stand; says nothing beside a state.
    pub is_open: bool,
    /// Only those whose id begins or ends so.
    pub id: Option<TaskIdPart>,
    /// Only those that a replay stands for, or only those that stand for themselves.
    pub is_replayed: Option<bool>,
    /// Only those of this pool.
    pub pool: Option<PoolName>,
    /// Only those of this group.
    pub group: Option<String>,
    /// Only those with all of these labels, key and value.
    pub labels: Vec<(String, String)>,
}

/// A part of the list of tasks.
#[derive(Clone, Debug, Default)]
pub struct TaskList {
    /// Newest first.
    pub tasks: Vec<TaskView>,
    /// Pass it as `before` to go on; `None` at the end.
    pub next: Option<SubmissionSeq>,
}

/// A part of the list of tasks, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdList {
    /// Newest first.
    pub ids: Vec<TaskId>,
    /// Pass it as `before` to go on; `None` at the end.
    pub next: Option<SubmissionSeq>,
}

/// A task, as far as a replay of it is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// Which one.
    pub id: TaskId,
    /// Whether it has an outcome.
    pub has_ended: bool,
    /// The replay of it that there is already.
    pub replay: Option<TaskId>,
    /// Its pool.
    pub pool: PoolName,
    /// Its priority.
    pub priority: i8,
    /// What it belongs to.
    pub group: Option<String>,
    /// What is noted on it.
    pub labels: Labels,
    /// What it does.
    pub spec: TaskSpec,
}

impl Original {
    /// The task that does its work again, at once and under a name of its own.
    pub fn again(mut self, fresh: TaskId, changes: &Changes) -> Result<NewTask, FieldError> {
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
pub struct ObituaryList {
    /// Newest first.
    pub obituaries: Vec<Obituary>,
    /// Pass it as `before` to go on; `None` at the end.
    pub next: Option<u64>,
}

/// Which log lines to read; an empty one reads all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only those of containers with this name, of any generation.
    pub container: Option<String>,
    /// Only those that speak of this task.
    pub task: Option<TaskId>,
}

/// Where to read log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// The oldest lines after this one.
    After(LogSeq),
    /// The newest lines before this one.
    Before(LogSeq),
    /// The newest lines of all.
    End,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRead {
    /// Oldest first, whichever way it was read.
    pub logs: Vec<LogView>,
    /// Pass it to [`LogFrom::After`] to go on to newer lines.
    pub newer: LogSeq,
    /// Pass it to [`LogFrom::Before`] to go on to older lines; `None` where the log begins.
    pub older: Option<LogSeq>,
}

/// How much is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows by table.
    pub tables: Vec<(&'static str, u64)>,
    /// Bytes on disk, those not yet merged into the main file included.
    pub bytes: u64,
    /// When something was committed last.
    pub last_commit_at: Option<Timestamp>,
}

/// What it takes to keep a small text by a task: its place in a table that is half empty, and two allocations.
const KEPT_BYTES: usize = 160;

/// What a worker has to know to run a task.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its spec, as JSON.
    pub spec: Box<RawValue>,
    /// What it belongs to.
    pub group: Option<String>,
}

impl Workload {
    /// How much memory it takes, roughly, where it is kept by its task.
    #[must_use]
    pub fn bytes(&self) -> usize {
        KEPT_BYTES + self.spec.get().len() + self.group.as_ref().map_or(0, String::len)
    }
}
