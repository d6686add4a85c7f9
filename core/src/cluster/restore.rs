//! What a new leader begins with.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Builds;
use crate::clock::Moment;
use crate::config::Config;
use crate::fleet::Fleet;
use crate::input::{Restored, RestoredTask};
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
            pools: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            fleet: Fleet::default(),
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
        cluster.fleet.begin_judging(now);
        cluster
    }
}

impl Cluster {
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
