//! The bodies that tell of the system: orchestrators, workers, the dead, the log.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{
    ContainerId, ContainerNo, Epoch, Generation, LogSeq, MemberName, PoolName, SlotNo, TaskId, Timestamp,
};

/// What an orchestrator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It acts.
    Leader,
    /// It waits to take over.
    Standby,
    /// Its container does not run.
    Down,
    /// It simulates a crash.
    Stopped,
}

/// One orchestrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its stable name.
    pub name: MemberName,
    /// What it does.
    pub role: Role,
    /// Where callers on the host reach it.
    pub url: String,
    /// Since when it does that.
    pub since: Timestamp,
}

/// How many tasks stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Waiting.
    pub queued: u64,
    /// With a worker.
    pub running: u64,
    /// Ended with a result.
    pub succeeded: u64,
    /// Ended without.
    pub failed: u64,
    /// Ended by a caller.
    pub cancelled: u64,
}

/// `GET /api/v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// Who leads.
    pub leader: MemberName,
    /// In which term.
    pub epoch: Epoch,
    /// Every orchestrator, by name.
    pub members: Vec<MemberView>,
    /// The tasks.
    pub tasks: TaskCounts,
    /// The version of the software.
    pub version: String,
}

/// What a worker's slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Its container is being made or has not joined yet.
    Starting,
    /// It takes tasks.
    Ready,
    /// It simulates a crash and is left alone for a while.
    Stopped,
    /// It finishes what it has and takes no more.
    Draining,
    /// It is dead or cut off and about to be replaced.
    Lost,
    /// It died too often; its replacement waits.
    BackingOff,
}

/// One slot of a pool and the worker in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its stable name.
    pub name: String,
    /// Its pool.
    pub pool: PoolName,
    /// Its place in the pool.
    pub slot: SlotNo,
    /// Which container of that place.
    pub generation: Generation,
    /// What it is doing.
    pub state: WorkerState,
    /// Why, where the state does not say enough.
    pub reason: Option<String>,
    /// The Docker container's id.
    pub container: Option<ContainerId>,
    /// Where the orchestrator reaches it: `host:port`.
    pub address: Option<String>,
    /// The port on 127.0.0.1 of the host, where it has one.
    pub port: Option<u16>,
    /// How many tasks it runs at once.
    pub slots: u16,
    /// What it runs now.
    pub running: Vec<TaskId>,
    /// CPU as the Docker CLI shows it: 100 is one core.
    pub cpu_percent: Option<f64>,
    /// Memory as the Docker CLI shows it.
    pub memory_bytes: Option<u64>,
    /// The container's limit.
    pub memory_limit_bytes: Option<u64>,
    /// Results that it gave in this generation.
    pub tasks_done: u64,
    /// Since when it is in this state.
    pub since: Timestamp,
}

/// One sample of a container's use, as the Docker CLI shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was measured.
    pub at: Timestamp,
    /// 100 is one core.
    pub cpu_percent: f64,
    /// Without the page cache that can be dropped.
    pub memory_bytes: u64,
    /// The container's limit.
    pub memory_limit_bytes: u64,
}

/// What is known of a dead container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Obituary {
    /// The worker's stable name.
    pub worker: String,
    /// Its pool.
    pub pool: PoolName,
    /// Its place.
    pub slot: SlotNo,
    /// Which container of that place.
    pub generation: Generation,
    /// The Docker container's id.
    pub container: Option<ContainerId>,
    /// When its death became known.
    pub died_at: Timestamp,
    /// How it died.
    pub verdict: Verdict,
    /// Whether the kernel killed it over its memory limit.
    pub oom: bool,
    /// The highest memory use that was seen, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Its memory limit, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Its last lines.
    pub last_logs: Vec<String>,
    /// Its last minute.
    pub last_usage: Vec<Usage>,
    /// The tasks that it had.
    pub tasks: Vec<TaskId>,
}

/// A page of `GET /api/v1/obituaries`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObituaryPage {
    /// Newest first.
    pub obituaries: Vec<Obituary>,
    /// Pass it as `cursor` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// One line of some container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// Its place among all lines.
    pub seq: LogSeq,
    /// When the container wrote it.
    pub at: Timestamp,
    /// The container's stable name.
    pub container: String,
    /// The number under which the container registered.
    pub container_id: ContainerNo,
    /// The task that it speaks of.
    pub task: Option<TaskId>,
    /// What it says.
    pub message: String,
}

/// A page of `GET /api/v1/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// In order.
    pub logs: Vec<LogView>,
    /// Pass it as `after` to go on from here, also when a filter left the page empty.
    pub next: LogSeq,
}
