//! What must hold after every step.

use crate::fleet::{Course, Slot};
use crate::task::Phase;

use super::Cluster;

impl Cluster {
    /// Walks the whole state; the error names the invariant that does not hold. For tests and
    /// simulation: it takes time in proportion to the number of tasks.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.tasks.check()?;
        self.fleet.check()?;
        self.pools.check()?;
        self.check_pools()?;
        let mut broken = None;
        self.tasks.all(|id, task| {
            let is_known = match task.phase() {
                Phase::Running(current) => self.fleet.is_held(&current.worker, *id, current.attempt),
                Phase::Undecided(lost) => {
                    self.fleet.is_unjudgeable((*id, lost.attempt)) || self.fleet.is_unjudged(*id)
                }
                Phase::Accepted { .. } | Phase::Queued | Phase::Resting { .. } | Phase::Deferred { .. } => {
                    true
                }
            };
            if !is_known {
                broken = Some(format!("{id} is not where the workers see it: {task:?}"));
            }
            is_known
        });
        broken.map_or(Ok(()), Err)
    }

    fn check_pools(&self) -> Result<(), String> {
        for slot in self.fleet.slots() {
            if self.pools.get(&slot.pool).is_none() {
                return Err(format!("{} has no pool", slot.worker_id()));
            }
            let is_settled =
                self.fleet.is_observed() && !self.retired && !self.pools.is_unsettled(&slot.pool);
            if is_settled && self.pools.is_outdated(slot) {
                return Err(format!("{} is made of something else than it should", slot.worker_id()));
            }
        }
        for pool in self.pools.all().filter(|_| self.fleet.is_observed() && !self.retired) {
            let mut replaced = self.fleet.slots().filter(|slot| slot.pool == pool.name);
            let is_inner = |slot: &&Slot| slot.no.0 <= pool.wanted();
            let inner = replaced.clone().filter(is_inner);
            if inner.count() != usize::from(pool.wanted()) && !self.pools.is_unsettled(&pool.name) {
                return Err(format!("{} has fewer slots than it should", pool.name));
            }
            if !self.pools.is_unsettled(&pool.name) && replaced.any(|slot| slot.course != Course::Stay) {
                return Err(format!("{} is settled and lets a worker go", pool.name));
            }
        }
        Ok(())
    }
}
