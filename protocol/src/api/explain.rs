//! The body of `GET /api/v1/tasks/{id}/explain`: why a task waits, or why it ran where it ran.

use serde::{Deserialize, Serialize};

use super::{TaskState, WorkerState};
use crate::pool::Placement;
use crate::{AttemptNo, TaskId, Timestamp};

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The task.
    pub id: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// All of this in one sentence.
    pub summary: String,
    /// What it waits for, while it waits.
    pub waiting: Option<Waiting>,
    /// Who was chosen; `null` before, and when that is not remembered any more.
    pub placement: Option<PlacementView>,
    /// Who could be chosen: now, while it waits, and at the moment of the choice otherwise.
    pub candidates: Vec<CandidateView>,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// For programs.
    pub reason: WaitReason,
    /// For people: what it is and what would unblock it.
    pub detail: String,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
    /// How many tasks of its pool go first.
    pub ahead: u64,
}

/// Why a task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Every worker of its pool is full.
    NoFreeSlot,
    /// An attempt of it failed or was lost and it rests.
    Resting,
    /// It is not to run before a time.
    NotBefore,
    /// Its pool is paused.
    PoolPaused,
    /// Its pool cannot have workers.
    PoolFailed,
    /// Its pool is gone.
    NoSuchPool,
    /// No worker of its pool takes tasks at this moment.
    NoWorker,
    /// Other tasks of its pool go first.
    BehindOthers,
    /// A new leader still asks the workers who runs what.
    Settling,
    /// The store takes no changes.
    StoreUnavailable,
}

/// A choice that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementView {
    /// For which attempt.
    pub attempt: AttemptNo,
    /// The stable name of the worker.
    pub worker: String,
    /// By which policy.
    pub policy: Placement,
    /// When.
    pub at: Timestamp,
}

/// A worker that was, or is, looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Its stable name.
    pub worker: String,
    /// What it is doing.
    pub state: WorkerState,
    /// How many more tasks it could take.
    pub free_slots: u16,
    /// How many it runs at once.
    pub slots: u16,
    /// What it is ranked by, the smallest wins; `null` for one that may not be chosen.
    pub score: Option<u64>,
    /// Whether it may be chosen.
    pub is_eligible: bool,
    /// Why not, or why it won.
    pub reason: String,
}
