//! The bodies of `/api/v1/pools`.

use serde::{Deserialize, Serialize};

use crate::pool::PoolSpec;
use crate::{PoolName, Timestamp};

/// Where a pool's spec comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolSource {
    /// The environment of the orchestrators.
    Environment,
    /// `clb.toml`.
    File,
    /// A caller.
    Api,
}

/// What a pool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolState {
    /// Its workers are as wanted, or being healed one by one.
    Ready,
    /// Its image is being fetched, or its first workers are being made.
    Preparing,
    /// A changed spec is rolling over its workers.
    Updating,
    /// It cannot have workers as it is wanted; the reason says why. Its tasks wait.
    Failed,
    /// It was deleted and finishes what it has.
    Removing,
}

/// A pool with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Where its spec comes from.
    pub source: PoolSource,
    /// As it is wanted.
    pub spec: PoolSpec,
    /// What it is doing.
    pub state: PoolState,
    /// Why, where the state does not say enough.
    pub reason: Option<String>,
    /// Whether it hands out nothing.
    pub is_paused: bool,
    /// Its workers.
    pub workers: PoolWorkers,
    /// Its tasks without an outcome.
    pub tasks: PoolTasks,
    /// Since when it is in this state.
    pub since: Timestamp,
}

/// How many workers a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolWorkers {
    /// That take tasks.
    pub ready: u16,
    /// That it should have.
    pub wanted: u16,
}

/// How many tasks of a pool have no outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTasks {
    /// Waiting.
    pub queued: u64,
    /// With a worker.
    pub running: u64,
}

/// `GET /api/v1/pools`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolPage {
    /// By name.
    pub pools: Vec<PoolView>,
}
