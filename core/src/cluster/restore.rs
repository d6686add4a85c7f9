//! What a new leader begins with.

use std::collections::{BTreeMap, BTreeSet};

use clb_protocol::TaskId;

use crate::build::Builds;
use crate::clock::Moment;
use crate::config::Config;
use crate::input::{Restored, RestoredTask};
use crate::lookup::Lookup;
use crate::placement::Memory;
use crate::queue::{Queue, Turn};
use crate::task::{Phase, RunningAttempt, Task};

use super::waiting::Asleep;
use super::{Cluster, Settling};

/// A leader's state while it is being read from the store, task by task: a million of them are not held twice.
#[derive(Debug)]
pub struct Restoration(Cluster);

impl Restoration {
    /// Begins with everything but the tasks.
    #[must_use]
    pub fn begin(config: Config, restored: Restored, now: Moment) -> Self {
        let mut cluster = Cluster {
            epoch: restored.epoch,
            tasks: Lookup::default(),
            queue: Queue::default(),
            pools: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            open: BTreeMap::new(),
            slots: BTreeMap::new(),
            generations: BTreeMap::new(),
            links: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            asleep: Asleep::default(),
            placements: Memory::default(),
            early_deaths: BTreeSet::new(),
            unjudgeable: Vec::new(),
            last_submission: restored.last_submission,
            last_outcome: restored.last_outcome,
            ended: restored.ended,
            running: 0,
            given: 0,
            observed: false,
            retired: false,
            builds: Builds::default(),
            mixture: super::builds::Mixture::default(),
            settling: None,
            store_available: true,
            checked_timeouts_at: now,
            began_at: now,
            config,
        };
        cluster.lay_out_pools(restored.pools, now);
        cluster.lay_out_slots(&restored.generations, restored.standings, now);
        Self(cluster)
    }

    /// Adds a task without an outcome.
    pub fn add(&mut self, task: RestoredTask, now: Moment) {
        self.0.restore_task(task, now);
    }

    /// All tasks are there: from now on the cluster can be heard and may decide.
    #[must_use]
    pub fn finish(self, now: Moment) -> Cluster {
        let Self(mut cluster) = self;
        let until = now + cluster.config.settle_limit;
        cluster.settling = Some(Settling { until, may_end_early: true });
        cluster.checked_timeouts_at = now;
        // Reading may have taken long: nobody could be judged meanwhile.
        for slot in cluster.slots.values_mut() {
            slot.unjudged_since = now;
        }
        cluster
    }
}

impl Cluster {
    fn restore_task(&mut self, row: RestoredTask, now: Moment) {
        let id = row.id;
        self.restore_unjudged(id, &row.unjudged);
        let phase = match (row.open, row.unjudged.last()) {
            (Some(open), _) => {
                self.unclaimed.entry(open.worker.clone()).or_default().insert(id, open.attempt);
                self.running += 1;
                Phase::Running(Box::new(open))
            }
            (None, Some(lost)) if row.spent >= row.max_attempts => Phase::Undecided(Box::new(lost.clone())),
            (None, _) => Phase::Queued,
        };
        // One that came before the clock was set back did not come in the future.
        let comes_at = row.submitted_at.min(now.at);
        let waits_since = row.not_before.map_or(comes_at, |until| until.max(comes_at));
        let mut task = Task {
            seq: row.seq,
            pool: row.pool,
            turn: Turn::new(waits_since, row.priority),
            max_attempts: row.max_attempts,
            spent: row.spent,
            last_attempt: row.last_attempt,
            timeout_ms: (row.timeout_seconds * 1_000.0) as u64,
            retry: row.retry.map(Box::new),
            phase,
        };
        if task.phase == Phase::Queued {
            let rested = row.rests_since.and_then(|since| {
                let rest = task.rest(id)?;
                // However the clock was set since then, it rests no longer than it would have.
                Some((since + rest).since(now.at).min(rest)).filter(|left| !left.is_zero())
            });
            match (row.not_before.filter(|until| *until > now.at), rested) {
                (Some(until), _) => task.phase = Phase::Deferred { until },
                (None, Some(left)) => task.phase = Phase::Resting { until: Box::new(now + left) },
                (None, None) => self.queue.push(id, &task),
            }
        }
        self.asleep.add(id, &task.phase);
        self.count_open(&task.pool);
        self.tasks.insert(id, task);
    }

    /// Losses whose verdict the former leader did not live to see.
    fn restore_unjudged(&mut self, id: TaskId, unjudged: &[RunningAttempt]) {
        for lost in unjudged {
            match self.slots.get_mut(&(lost.worker.pool.clone(), lost.worker.slot)) {
                Some(slot) => slot.unjudged.push((id, lost.attempt)),
                None => self.unjudgeable.push((id, lost.attempt)),
            }
        }
    }
}
