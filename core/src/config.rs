//! The numbers that decisions depend on.

use std::collections::BTreeMap;
use std::time::Duration;

use clb_protocol::PoolName;

pub use crate::pool::Definition;
use crate::ports::Reserved;

/// Everything that is configured about decisions.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pools that the operator defines.
    pub pools: Vec<Definition>,
    /// Pools whose stored specs the operator does not allow, and why, for people.
    pub refused: BTreeMap<PoolName, String>,
    /// Ports of the host that no worker may be published on.
    pub reserved_ports: Reserved,
    /// How many tasks may wait.
    pub queue_limit: usize,
    /// How long a worker may say nothing before it counts as hung; also how long one whose link
    /// closed may take to come back.
    pub silence_limit: Duration,
    /// How long a new container may take to join.
    pub start_limit: Duration,
    /// How long a new leader waits for the workers that Docker says are alive before it hands out
    /// tasks that one of them may hold.
    pub settle_limit: Duration,
    /// How long a worker that simulates a crash is left alone.
    pub soft_stop_grace: Duration,
    /// How long a worker that is being stopped may take to end.
    pub leave_limit: Duration,
    /// How long the judgement of a lost attempt may take when the task's end depends on it.
    pub verdict_limit: Duration,
    /// How long the leader waits for a worker to say that a task outran its timeout, once whatever ran must have
    /// ended.
    pub timeout_grace: Duration,
}

impl Config {
    /// The defaults, for these pools.
    #[must_use]
    pub fn new(pools: Vec<Definition>) -> Self {
        Self {
            pools,
            refused: BTreeMap::new(),
            reserved_ports: Reserved::default(),
            queue_limit: 1_000_000,
            silence_limit: Duration::from_secs(3),
            start_limit: Duration::from_secs(30),
            settle_limit: Duration::from_secs(1),
            soft_stop_grace: Duration::from_mins(1),
            leave_limit: Duration::from_secs(30),
            verdict_limit: Duration::from_secs(10),
            timeout_grace: Duration::from_secs(5),
        }
    }

    pub(crate) fn definition(&self, name: &PoolName) -> Option<&Definition> {
        self.pools.iter().find(|pool| pool.name == *name)
    }
}
