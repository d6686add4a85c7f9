//! What a new leader begins with.

use clb_protocol::{Generation, PoolName, SlotNo};

use crate::clock::Moment;
use crate::config::Config;
use crate::fleet::{Fleet, Standing};
use crate::input::{Restored, RestoredTask};
use crate::pool::Pools;
use crate::task::Tasks;

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
            tasks: Tasks::new(restored.last_submission, restored.last_outcome, restored.ended),
            pools: Pools::new(&config, restored.pools, now),
            fleet: Fleet::default(),
            retired: false,
            settling: None,
            store_available: true,
            checked_timeouts_at: now,
            began_at: now,
            config,
        };
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
        cluster.fleet.begin_judging(now);
        cluster
    }
}

impl Cluster {
    /// Every place that a pool has, and every further one that a container may still be in.
    fn lay_out_slots(
        &mut self,
        generations: &[(PoolName, SlotNo, Generation)],
        standings: Vec<(PoolName, SlotNo, Standing)>,
        now: Moment,
    ) {
        for (pool, no, generation) in generations {
            self.fleet.restore_generation((pool.clone(), *no), *generation);
            if self.pools.get(pool).is_some() {
                self.make_slot(&(pool.clone(), *no), now);
            }
        }
        let pools: Vec<(PoolName, u16)> = self.pools.all().map(|p| (p.name.clone(), p.wanted())).collect();
        for (pool, wanted) in pools {
            for no in 1..=wanted {
                self.make_slot(&(pool.clone(), SlotNo(no)), now);
            }
        }
        for (pool, no, standing) in standings {
            let key = (pool, no);
            self.make_slot(&key, now);
            self.fleet.order(&key, standing);
        }
    }

    fn restore_task(&mut self, row: RestoredTask, now: Moment) {
        for lost in &row.unjudged {
            self.fleet.restore_loss(&lost.worker, (row.id, lost.attempt));
        }
        if let Some(open) = &row.open {
            self.fleet.restore_running(&open.worker, row.id, open.attempt);
        }
        self.tasks.restore(row, now);
    }
}
