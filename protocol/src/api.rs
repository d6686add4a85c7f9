//! The bodies of the public HTTP API.
//!
//! Conventions: `snake_case`, times RFC 3339 in UTC, durations in seconds, ids UUIDv7 as text; what is
//! not known yet is `null`.

mod explain;
mod many;
mod pool;
mod system;
mod task;

use serde::{Deserialize, Serialize};

pub use self::explain::{CandidateView, Explanation, PlacementView, WaitReason, Waiting};
pub use self::many::{ManyCancelled, ManyReplayed, TaskSelection};
pub use self::pool::{PoolPage, PoolSource, PoolState, PoolTasks, PoolView, PoolWorkers};
pub use self::system::{
    ClusterView, LogPage, LogView, MemberView, Obituary, ObituaryPage, Role, TaskCounts, Usage, WorkerState,
    WorkerView,
};
pub use self::task::{
    AttemptView, BatchEntry, BatchError, GroupPage, GroupView, OutcomePage, OutcomeView, Progress, TaskError,
    TaskEvent, TaskPage, TaskState, TaskView, Verdict, VerdictKind,
};
pub use crate::task::FieldError;

/// An error, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem, as a URI reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// With status 422 what is wrong where, with 409 where the task that is known differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}
