//! What a new leader begins with.

use std::collections::{BTreeMap, BTreeSet};

use clb_protocol::{Generation, PoolName, SlotNo, TaskId, Timestamp};

use crate::config::Config;
use crate::fleet::Slot;
use crate::input::{Restored, RestoredTask};
use crate::lookup::Lookup;
use crate::placement::Memory;
use crate::queue::{Queue, Turn};
use crate::task::{Phase, RunningAttempt, Task};

use super::{Cluster, Settling};

impl Cluster {
    /// A leader's state at the beginning of its term.
    #[must_use]
    pub fn restore(config: Config, restored: Restored, now: Timestamp) -> Self {
        let settling = Some(Settling { until: now + config.settle_limit, may_end_early: true });
        let mut cluster = Self {
            epoch: restored.epoch,
            tasks: Lookup::default(),
            queue: Queue::default(),
            slots: BTreeMap::new(),
            links: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            asleep: BTreeSet::new(),
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
            settling,
            store_available: true,
            checked_timeouts_at: now,
            config,
        };
        cluster.lay_out_slots(&restored.generations, now);
        for row in restored.tasks {
            cluster.restore_task(row, now);
        }
        cluster
    }

    fn restore_task(&mut self, row: RestoredTask, now: Timestamp) {
        let id = row.id;
        self.restore_unjudged(id, &row.unjudged);
        let phase = match (row.open, row.unjudged.last()) {
            (Some(open), _) => {
                self.unclaimed.entry(open.worker.clone()).or_default().insert(id, open.attempt);
                self.running += 1;
                Phase::Running(open)
            }
            (None, Some(lost)) if row.spent >= row.max_attempts => Phase::Undecided(lost.clone()),
            (None, _) => Phase::Queued,
        };
        let mut task = Task {
            seq: row.seq,
            pool: row.pool,
            turn: Turn::new(row.not_before.unwrap_or(row.submitted_at).max(row.submitted_at), row.priority),
            max_attempts: row.max_attempts,
            spent: row.spent,
            last_attempt: row.last_attempt,
            timeout_ms: (row.timeout_seconds * 1_000.0) as u64,
            retry: row.retry.map(Box::new),
            phase,
        };
        if task.phase == Phase::Queued {
            let rested = row.rests_since.and_then(|since| Some(since + task.rest(id)?));
            match (row.not_before.filter(|until| *until > now), rested.filter(|until| *until > now)) {
                (Some(until), _) => task.phase = Phase::Deferred { until },
                (None, Some(until)) => task.phase = Phase::Resting { until },
                (None, None) => self.queue.push(id, &task),
            }
        }
        self.asleep.extend(task.due().map(|until| (until, id)));
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

    fn lay_out_slots(&mut self, generations: &[(PoolName, SlotNo, Generation)], now: Timestamp) {
        for pool in &self.config.pools {
            for place in 0..pool.workers {
                let no = SlotNo(place + 1);
                let known = generations.iter().find(|(name, slot, _)| *name == pool.name && *slot == no);
                let generation = known.map_or(Generation(0), |(_, _, generation)| *generation);
                let port = pool.first_port.saturating_add(place);
                self.slots.insert(
                    (pool.name.clone(), no),
                    Slot::vacant(pool.name.clone(), no, port, generation, now),
                );
            }
        }
    }
}
