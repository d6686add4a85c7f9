//! What must hold of the fleet after every step.

use super::{Fleet, Slot, Worker};

impl Fleet {
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, slot) in &self.slots {
            if slot.key() != *key {
                return Err(format!("{} is kept as another slot", slot.worker_id()));
            }
            if self.generations.get(key).is_some_and(|newest| *newest > slot.generation) {
                return Err(format!("{} had newer containers before", slot.worker_id()));
            }
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
        if self.is_observed && !(self.unclaimed.is_empty() && self.unjudgeable.is_empty()) {
            return Err("attempts wait for workers that Docker does not have".to_owned());
        }
        Ok(())
    }
}
