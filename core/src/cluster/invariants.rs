//! What must hold after every step.

use std::collections::BTreeMap;

use clb_protocol::{AttemptNo, TaskId};

use crate::fleet::{Course, Held, Slot, Worker};
use crate::task::Phase;

use super::Cluster;

impl Cluster {
    /// Walks the whole state; the error names the invariant that does not hold. For tests and
    /// simulation: it takes time in proportion to the number of tasks.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.tasks.check()?;
        self.check_workers()?;
        self.check_pools()?;
        let mut held: BTreeMap<TaskId, Vec<AttemptNo>> = BTreeMap::new();
        for worker in self.slots.values().filter_map(Slot::worker) {
            for (id, Held { attempt, .. }) in &worker.running {
                held.entry(*id).or_default().push(*attempt);
            }
        }
        for (id, attempt) in self.unclaimed.values().flatten() {
            held.entry(*id).or_default().push(*attempt);
        }
        let mut broken = None;
        self.tasks.all(|id, task| {
            let is_known = match task.phase() {
                Phase::Running(current) => held.get(id).is_some_and(|all| all.contains(&current.attempt)),
                Phase::Undecided(lost) => {
                    let is_unjudged = |slot: &Slot| slot.unjudged.iter().any(|(other, _)| other == id);
                    self.unjudgeable.contains(&(*id, lost.attempt)) || self.slots.values().any(is_unjudged)
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
        for (key, slot) in &self.slots {
            if !self.pools.contains_key(&key.0) {
                return Err(format!("{} has no pool", slot.worker_id()));
            }
            let is_settled = self.observed && !self.retired && !self.unsettled.contains(&key.0);
            if is_settled && self.is_outdated(slot) {
                return Err(format!("{} is made of something else than it should", slot.worker_id()));
            }
        }
        for pool in self.pools.values().filter(|_| self.observed && !self.retired) {
            let mut replaced = self.slots.values().filter(|slot| slot.pool == pool.name);
            let is_inner = |slot: &&Slot| slot.no.0 <= pool.wanted();
            let inner = replaced.clone().filter(is_inner);
            if inner.count() != usize::from(pool.wanted()) && !self.unsettled.contains(&pool.name) {
                return Err(format!("{} has fewer slots than it should", pool.name));
            }
            if !self.unsettled.contains(&pool.name) && replaced.any(|slot| slot.course != Course::Stay) {
                return Err(format!("{} is settled and lets a worker go", pool.name));
            }
        }
        Ok(())
    }

    fn check_workers(&self) -> Result<(), String> {
        for (key, slot) in &self.slots {
            let Some(worker) = slot.worker() else { continue };
            if worker.incarnation.is_some() && worker.running.len() > usize::from(worker.slots) {
                return Err(format!("{} runs more than its slots", slot.worker_id()));
            }
            match worker.open_link() {
                Some(link) if self.links.get(&link) != Some(key) => {
                    return Err(format!("{} has a link that nobody knows", slot.worker_id()));
                }
                None if worker.incarnation.is_some() && !worker.running.is_empty() => {
                    return Err(format!("{} has tasks but no link", slot.worker_id()));
                }
                _ => {}
            }
        }
        let open = self.slots.values().filter_map(Slot::worker).filter_map(Worker::open_link).count();
        if self.links.len() != open {
            return Err("a link is known that no worker has".to_owned());
        }
        Ok(())
    }
}
