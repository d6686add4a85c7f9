//! What workers and standbys say to the leader and hear from it.
//!
//! A link is one HTTP/1.1 request that both sides keep open: `POST /link/v1/worker` (or
//! `/link/v1/standby`) whose request body is NDJSON from the member to the leader and whose response
//! body is NDJSON from the leader to the member. Its end, for whatever reason, is the end of the
//! link: there is nothing to close separately and no order of two connections to keep.
//!
//! An orchestrator that does not lead answers `421 Misdirected Request` with a [`Misdirected`] body
//! when it knows who does; while nobody leads it holds the request for up to 5 s and then answers 503.
//!
//! The client and the database container hold no link; they hand in their log lines with
//! `POST /link/v1/logs` and a [`LogHandIn`] body.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::Progress;
use crate::time::micros;
use crate::{
    AttemptNo, ContainerId, ContainerNo, Epoch, Incarnation, MemberName, TaskId, Timestamp, WorkerId,
};

/// How often each side says something, in milliseconds, so that silence means trouble.
pub const HEARTBEAT_MS: u64 = 1_000;
/// After how long without a word the other side counts as gone, in milliseconds.
pub const SILENCE_LIMIT_MS: u64 = 3_000;
/// So many bytes of specs or results go into one line; a single one may have more.
pub const LINE_SHARE_BYTES: usize = 8 << 20;

/// An orchestrator that does not lead tells who does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misdirected {
    /// The leader's base URL inside the cluster's network.
    pub leader: String,
}

/// One log line on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    #[serde(with = "micros")]
    pub at: Timestamp,
    /// The task that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// What it says.
    pub message: String,
}

/// What a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerRole {
    /// Leads or stands by.
    Orchestrator,
    /// Runs tasks.
    Worker,
    /// Serves the web page.
    Client,
    /// Shows what is stored.
    Database,
}

/// A container as it registers: a new container with the same name gets a new number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerIdentity {
    /// Its stable name (`worker-1`, `client`).
    pub name: String,
    /// Docker's id of it, or any text that differs between two runs of the program.
    pub id: ContainerId,
    /// What it is.
    pub role: ContainerRole,
}

/// Log lines of a container that holds no link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHandIn {
    /// Whose lines.
    pub container: ContainerIdentity,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// The answer to a [`LogHandIn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReceipt {
    /// The number under which the container is registered.
    pub container: ContainerNo,
}

/// A task that a worker runs at the moment of joining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The task.
    pub task: TaskId,
    /// Which attempt of it.
    pub attempt: AttemptNo,
    /// The term that ordered it.
    pub epoch: Epoch,
    /// When it was received.
    #[serde(with = "micros")]
    pub started_at: Timestamp,
    /// How long ago that was, measured and not by the clock on the wall.
    #[serde(default)]
    pub ran_for: Duration,
}

/// What an attempt gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Yield {
    /// A result, as JSON.
    Succeeded(Box<RawValue>),
    /// An error.
    Failed(Failure),
    /// The attempt outran the task's timeout; with what it gave until then, if anything.
    TimedOut(Option<Box<RawValue>>),
    /// The attempt ended because the leader cancelled it; with what it gave until then, if anything.
    Cancelled(Option<Box<RawValue>>),
}

impl Yield {
    /// A failure that is told in one sentence.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::failed_of(Cause::Error, error)
    }

    /// The same with a cause of its own.
    pub fn failed_of(cause: Cause, error: impl Into<String>) -> Self {
        Self::Failed(Failure { cause, error: error.into(), result: None })
    }

    /// How many bytes of result it carries.
    #[must_use]
    pub fn result_bytes(&self) -> usize {
        match self {
            Self::Succeeded(result) => result.get().len(),
            Self::Failed(Failure { result, .. }) | Self::TimedOut(result) | Self::Cancelled(result) => {
                result.as_ref().map_or(0, |result| result.get().len())
            }
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub cause: Cause,
    /// For people, one sentence.
    pub error: String,
    /// What it gave nevertheless, as JSON: for a command its exit and its outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
}

/// What made an attempt fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It could not be run, or not to its end.
    Error,
    /// Its program cannot be started as the task says, which no other attempt changes: it is not there, or it
    /// is not executable.
    CannotStart,
    /// Its program ended with this code, which does not mean success.
    Exited(i32),
    /// This signal ended its program.
    Killed(i32),
    /// The kernel killed its program over the worker's memory limit.
    Oom,
}

/// The end of an attempt; the worker keeps and resends it until it is acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptResult {
    /// The task.
    pub task: TaskId,
    /// Which attempt of it.
    pub attempt: AttemptNo,
    /// The term that ordered it.
    pub epoch: Epoch,
    /// When the worker received the order.
    #[serde(with = "micros")]
    pub started_at: Timestamp,
    /// When the attempt ended.
    #[serde(with = "micros")]
    pub ended_at: Timestamp,
    /// What it gave.
    #[serde(rename = "yield")]
    pub gave: Yield,
}

/// The first line of a worker's link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerHello {
    /// Which container.
    pub worker: WorkerId,
    /// Which process in it.
    pub incarnation: Incarnation,
    /// Docker's id of the container.
    pub container: ContainerId,
    /// The port it serves its own pages on, and is published on.
    pub port: u16,
    /// How many tasks it runs at once.
    pub slots: u16,
    /// How many seconds its programs have to end once they are asked to, after a timeout for one.
    #[serde(default)]
    pub stop_grace: f64,
    /// What it runs, and what it finished whose result has no room in this line and follows in a report.
    pub running: Vec<Running>,
    /// What it finished and nobody acknowledged yet, oldest first, as far as it has room in one line.
    /// These are not sent again on this link; the others follow in reports.
    pub finished: Vec<AttemptResult>,
}

/// Every further line of a worker. Sent when there is something to say, and every
/// [`HEARTBEAT_MS`] otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Attempts that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished: Vec<AttemptResult>,
    /// Orders that the worker gives back unfinished because it is about to stop. It takes no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
    /// How far attempts are that told so since the last report; on a new link all that ever did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<AttemptProgress>,
    /// Its log lines since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
}

/// How far a running attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptProgress {
    /// The task.
    pub task: TaskId,
    /// Which attempt of it.
    pub attempt: AttemptNo,
    /// What it told last.
    pub progress: Progress,
}

/// A worker's farewell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// What it gives back, unfinished.
    pub returned: Vec<(TaskId, AttemptNo)>,
}

/// An order to run one attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunOrder {
    /// The task.
    pub task: TaskId,
    /// Which attempt of it.
    pub attempt: AttemptNo,
    /// What the task belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// See [`crate::task::TaskSpec`].
    pub spec: Box<RawValue>,
}

/// What the leader says to a worker, one line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOrder {
    /// The first line; the worker refuses the link when it has seen a higher epoch. Said again, with
    /// the same epoch, when other orchestrators become known.
    Welcome(Welcome),
    /// Run these. Never more than the worker has free slots.
    Run(Vec<RunOrder>),
    /// Stop these; each still ends with a result, `cancelled` unless it ended before.
    Cancel(Vec<(TaskId, AttemptNo)>),
    /// These results are on disk, or not needed: forget them.
    Ack(Vec<(TaskId, AttemptNo)>),
    /// Nothing; said every [`HEARTBEAT_MS`].
    Ping,
}

/// Who leads, as told on every new link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The leader's term.
    pub epoch: Epoch,
    /// The leader.
    pub leader: MemberName,
    /// The leader's port, for the log.
    pub port: u16,
    /// The base URLs of all orchestrators inside the cluster's network: where to look when this link
    /// ends.
    pub orchestrators: Vec<String>,
}

/// The first line of a standby's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyHello {
    /// Who it is.
    pub member: MemberName,
    /// Which process of it.
    pub incarnation: Incarnation,
    /// Docker's id of its container.
    pub container: ContainerId,
    /// Its base URL inside the cluster's network.
    pub url: String,
    /// Its base URL for callers on the host.
    pub public_url: String,
}

/// Every further line of a standby; an empty one is the heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyReport {
    /// Its log lines since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// It simulates a crash from now on; the link ends after this line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crashing: bool,
    /// It is being stopped on purpose; the link ends after this line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// What the leader says to a standby, one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyOrder {
    /// The first line.
    Welcome(Welcome),
    /// Nothing; said every [`HEARTBEAT_MS`].
    Ping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_short_and_progress_is_there_when_there_is_any() {
        assert_eq!(serde_json::to_string(&WorkerReport::default()).unwrap(), "{}");
        let progress = Progress { fraction: 0.5, note: Some("half".to_owned()), at: Timestamp(7) };
        let told = AttemptProgress { task: TaskId::now(), attempt: AttemptNo(2), progress };
        let line =
            serde_json::to_string(&WorkerReport { progress: vec![told.clone()], ..WorkerReport::default() });
        let read: WorkerReport = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(read.progress, [told]);
        assert!(read.finished.is_empty() && read.leaving.is_none() && read.logs.is_empty());
    }

    #[test]
    fn what_a_cancelled_attempt_gave_survives_the_link() {
        let gave = Yield::Cancelled(Some(serde_json::value::to_raw_value("written").unwrap()));
        let line = serde_json::to_string(&gave).unwrap();
        assert_eq!((line.as_str(), gave.result_bytes()), (r#"{"cancelled":"written"}"#, 9));
        assert!(
            matches!(serde_json::from_str(&line).unwrap(), Yield::Cancelled(Some(it)) if it.get().len() == 9)
        );
        let nothing = serde_json::to_string(&Yield::Cancelled(None)).unwrap();
        assert!(matches!(serde_json::from_str(&nothing).unwrap(), Yield::Cancelled(None)));
    }
}
