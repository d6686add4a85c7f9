//! The bodies of what is done to many tasks at once: `POST /api/v1/tasks/cancel` and `/replay`.

use serde::{Deserialize, Serialize};

use super::TaskState;
use crate::PoolName;
use crate::task::Labels;

/// Which tasks: those that fit everything that is said. Saying nothing is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSelection {
    /// Where they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Whose workers run them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// What they belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is noted on them.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// The answer to a cancellation of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManyCancelled {
    /// How many ended with it.
    pub cancelled: u64,
}

/// The answer to a replay of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManyReplayed {
    /// How many new tasks there are.
    pub replayed: u64,
    /// How many had been replayed before.
    pub known: u64,
    /// How many had no room in the queue.
    pub refused: u64,
}
