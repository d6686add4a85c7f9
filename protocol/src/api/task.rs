//! The bodies of `/api/v1/tasks` and `/api/v1/outcomes`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::task::{FieldError, Kind, Labels, NewTask};
use crate::{AttemptNo, Epoch, OutcomeSeq, PoolName, TaskId, Timestamp};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// On disk, waiting for a slot.
    Queued,
    /// With a worker.
    Running,
    /// Ended well, with a result.
    Succeeded,
    /// Ended without: every attempt failed or was lost.
    Failed,
    /// Ended by a caller.
    Cancelled,
}

impl TaskState {
    /// The state as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How an attempt, or a container, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The attempt gave a result.
    Succeeded,
    /// The attempt gave an error.
    Failed,
    /// The attempt took longer than the task's timeout.
    TimedOut,
    /// A caller cancelled the task while it ran.
    Cancelled,
    /// The container's process ended by itself.
    Exited,
    /// A signal ended the container's process.
    Killed,
    /// The kernel killed it over its memory limit.
    Oom,
    /// It was there but said nothing for too long: paused, cut off or stuck.
    Hung,
    /// It was stopped on purpose.
    Stopped,
    /// It gave its tasks back because it was told to take no more.
    Drained,
    /// The container is gone and nobody can tell how.
    HostLost,
    /// Another attempt's outcome was recorded first.
    Superseded,
}

/// The judgement on a loss or an end, in a form for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub kind: VerdictKind,
    /// One sentence.
    pub detail: String,
    /// The exit code, where a process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal, where one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i64>,
}

impl Verdict {
    /// A verdict without exit code or signal.
    pub fn new(kind: VerdictKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), exit_code: None, signal: None }
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// For programs: how the last attempt ended. `failed`, `timed_out`, `oom` (over the memory limit of its
    /// worker), or `attempts_exhausted` when it was lost with its worker.
    pub code: String,
    /// For people.
    pub message: String,
}

impl TaskError {
    /// Of a task that a caller ended.
    #[must_use]
    pub fn cancelled() -> Self {
        Self { code: "cancelled".to_owned(), message: "A caller cancelled the task".to_owned() }
    }
}

/// One run of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Which one, from 1.
    pub attempt: AttemptNo,
    /// The worker's stable name.
    pub worker: String,
    /// The term that ordered it.
    pub epoch: Epoch,
    /// When it was given to the worker.
    pub started_at: Timestamp,
    /// When its end became known.
    pub ended_at: Option<Timestamp>,
    /// How it ended; `null` while it runs or while that is being found out.
    pub verdict: Option<Verdict>,
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// What it says of it.
    pub note: Option<String>,
    /// When it said so.
    pub at: Timestamp,
}

/// A task with everything that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskView {
    /// Its name.
    pub id: TaskId,
    /// What it does.
    pub kind: Kind,
    /// Whose workers run it.
    pub pool: PoolName,
    /// What it belongs to.
    pub group: Option<String>,
    /// What its submitter noted on it.
    pub labels: Labels,
    /// Higher goes first.
    pub priority: i8,
    /// It does not run before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// See [`crate::task::TaskSpec`].
    pub spec: Box<RawValue>,
    /// Where it stands.
    pub state: TaskState,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The stable name of the worker that has it or had it last.
    pub worker: Option<String>,
    /// The newest attempt's number.
    pub attempt: Option<AttemptNo>,
    /// How far it is, while it runs and has told.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// The ended task whose work it does again.
    #[serde(default)]
    pub replay_of: Option<TaskId>,
    /// The task that does its work again, its replay. The last of a chain of replays stands for all of them.
    #[serde(default)]
    pub replayed_by: Option<TaskId>,
    /// What it gave; a command that failed or timed out has one beside its error.
    pub result: Option<Box<RawValue>>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// Every run of it that is on record.
    pub attempts: Vec<AttemptView>,
}

impl TaskView {
    /// A task that has just been accepted.
    pub fn accepted(task: &NewTask, at: Timestamp) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: task.id,
            kind: task.spec.work.kind(),
            spec: serde_json::value::to_raw_value(&task.spec)?,
            pool: task.pool.clone(),
            group: task.group.clone(),
            labels: task.labels.clone(),
            priority: task.priority,
            not_before: task.not_before,
            progress: None,
            replay_of: task.replay_of,
            replayed_by: None,
            state: TaskState::Queued,
            submitted_at: at,
            started_at: None,
            finished_at: None,
            worker: None,
            attempt: None,
            result: None,
            error: None,
            attempts: Vec::new(),
        })
    }
}

/// A page of `GET /api/v1/tasks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskPage {
    /// Newest first.
    pub tasks: Vec<TaskView>,
    /// Pass it as `cursor` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// A page of `GET /api/v1/groups`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupPage {
    /// In the order of their names.
    pub groups: Vec<GroupView>,
    /// Pass it as `cursor` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// What tasks belong to together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// What its tasks have as `group`.
    pub name: String,
}

/// An ended task at its place in the order of outcomes.
#[derive(Clone, Debug, Serialize)]
pub struct OutcomeView {
    /// Its place.
    pub seq: OutcomeSeq,
    /// The task.
    #[serde(flatten)]
    pub task: TaskView,
}

impl<'de> Deserialize<'de> for OutcomeView {
    /// Reads the text twice: a flattened field cannot hold raw JSON.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Place {
            seq: OutcomeSeq,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Place { seq } = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let task = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { seq, task })
    }
}

/// A page of `GET /api/v1/outcomes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutcomePage {
    /// In the order of their outcomes.
    pub outcomes: Vec<OutcomeView>,
    /// Pass it as `after` to go on from here.
    pub next: OutcomeSeq,
}

/// What became of one item of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchEntry {
    /// The task's id; `null` when the item has none because it was refused.
    pub id: Option<TaskId>,
    /// 201 accepted, 200 known already, 409 known with another spec, 422 invalid, 429 queue full.
    pub status: u16,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<BatchError>,
}

/// Why an item of a batch was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchError {
    /// One sentence.
    pub detail: String,
    /// With status 422 what is wrong where, with 409 where the task that is known differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// The data of the event `task` of `GET /api/v1/events`: a task has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// Which task.
    pub id: TaskId,
    /// Where it stands now.
    pub state: TaskState,
    /// The stable name of the worker that has it or had it last.
    pub worker: Option<String>,
    /// The newest attempt's number.
    pub attempt: Option<AttemptNo>,
    /// What it belongs to.
    pub group: Option<String>,
    /// How far it is, while it runs and has told.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// When it changed.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_its_text() {
        let id = TaskId::now();
        let text = format!(
            r#"{{"seq":7,"id":"{id}","kind":"sleep","pool":"default","group":null,"labels":{{}},"priority":0,"spec":{{"seconds":1}},"state":"succeeded","submitted_at":"2023-11-14T22:13:20Z","started_at":null,"finished_at":null,"worker":null,"attempt":1,"result":{{"sum":7}},"error":null,"attempts":[]}}"#
        );
        let outcome: OutcomeView = serde_json::from_str(&text).unwrap();
        assert_eq!((outcome.seq, outcome.task.id), (OutcomeSeq(7), id));
        let again: OutcomeView = serde_json::from_str(&serde_json::to_string(&outcome).unwrap()).unwrap();
        assert_eq!(again.task.result.unwrap().get(), r#"{"sum":7}"#);
    }
}
