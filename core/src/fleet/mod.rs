//! The fleet: one [`Slot`] for every place in every pool, and what fills it.
//!
//! ```text
//!              create                 joins, or is found alive
//! Vacant ----------------> Starting ------------------------------> Up
//!   ^                          |                                    |
//!   |  removed                 | fails, or does not join            | dies, hangs, leaves
//!   +---------- Burying <------+------------------------------------+
//! ```
//!
//! `Fleet` owns all slots and hands none of them out to be written: links, what workers hold, what was lost with
//! them and the generations change by its verbs only. `links.rs` has those for what workers say, `containers.rs`
//! those for what Docker does, `losses.rs` those for attempts whose end is open, `invariants.rs` what holds of all.
//! Not here: why a worker goes and what becomes of its tasks, which the cluster decides.

mod backoff;
mod containers;
mod invariants;
mod links;
mod losses;
mod revival;
mod slot;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use clb_protocol::api::Usage;
use clb_protocol::{AttemptNo, Generation, PoolName, SlotNo, TaskId, WorkerId};

use crate::clock::Moment;
use crate::input::LinkNo;

pub use backoff::Backoff;
pub use revival::{Fall, revive_at};
pub use slot::{Course, Held, Link, Slot, Stage, Standing, Worker};
pub use verdict::{End, Remains, is_by_hand, judge, memory_peak};

pub(crate) use containers::Container;
pub(crate) use links::{Disconnected, Given};

pub(crate) type SlotKey = (PoolName, SlotNo);

/// All slots.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    slots: BTreeMap<SlotKey, Slot>,
    /// The newest generation of each slot that there was.
    generations: BTreeMap<SlotKey, Generation>,
    links: BTreeMap<LinkNo, SlotKey>,
    /// Attempts that the store shows as running, until their workers are found or found missing.
    unclaimed: BTreeMap<WorkerId, BTreeMap<TaskId, AttemptNo>>,
    /// Attempts without a verdict, lost in slots that are no more.
    unjudgeable: Vec<(TaskId, AttemptNo)>,
    /// Who died before Docker's first list came, which may still show them alive.
    early_deaths: BTreeSet<WorkerId>,
    /// Whether Docker's list of containers was seen in this term.
    is_observed: bool,
    /// How many tasks were given to workers.
    given: u64,
}

impl Fleet {
    /// All of them, by pool and place.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> + Clone {
        self.slots.values()
    }

    /// Those of a pool, in order.
    pub(crate) fn slots_of(&self, pool: &PoolName) -> impl DoubleEndedIterator<Item = &Slot> {
        let range = (pool.clone(), SlotNo(0))..=(pool.clone(), SlotNo(u16::MAX));
        self.slots.range(range).map(|(_, slot)| slot)
    }

    pub(crate) fn slot(&self, key: &SlotKey) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Which there are.
    pub(crate) fn keys(&self) -> Vec<SlotKey> {
        self.slots.keys().cloned().collect()
    }

    /// The slot that this worker fills now; `None` for a worker of an earlier generation.
    pub(crate) fn slot_of(&self, worker: &WorkerId) -> Option<&Slot> {
        self.slots.get(&key_of(worker)).filter(|slot| slot.generation == worker.generation)
    }

    fn slot_of_mut(&mut self, worker: &WorkerId) -> Option<&mut Slot> {
        self.slots.get_mut(&key_of(worker)).filter(|slot| slot.generation == worker.generation)
    }

    /// Whether Docker's list of containers was seen in this term.
    pub(crate) fn is_observed(&self) -> bool {
        self.is_observed
    }

    /// A slot had containers up to this generation.
    pub(crate) fn restore_generation(&mut self, key: SlotKey, generation: Generation) {
        self.generations.insert(key, generation);
    }

    /// Makes an empty slot where there is none, with `ports` inside and on the host.
    pub(crate) fn add_slot(
        &mut self,
        key: &SlotKey,
        ports: impl FnOnce() -> (u16, Option<u16>),
        now: Moment,
    ) {
        if !self.slots.contains_key(key) {
            let generation = self.generations.get(key).copied().unwrap_or_default();
            let (port, published) = ports();
            let mut slot = Slot::vacant(key.0.clone(), key.1, port, generation, now);
            slot.published = published;
            self.slots.insert(key.clone(), slot);
        }
    }

    /// Takes an empty slot out, and says what was ordered for it.
    pub(crate) fn remove_slot(&mut self, key: &SlotKey) -> Option<Standing> {
        let slot = self.slots.remove(key)?;
        self.generations.insert(key.clone(), slot.generation);
        Some(slot.standing)
    }

    /// Something is ordered for a slot; `false` when it is so already.
    pub(crate) fn order(&mut self, key: &SlotKey, standing: Standing) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        std::mem::replace(&mut slot.standing, standing) != standing
    }

    /// A slot is like this only from now on.
    pub(crate) fn mark_changed(&mut self, key: &SlotKey, now: Moment) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.since = now;
        }
    }

    /// Its pool means to do this with a slot.
    pub(crate) fn set_course(&mut self, key: &SlotKey, course: Course) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.course = course;
        }
    }

    /// An empty slot need not wait any longer for its container.
    pub(crate) fn hurry(&mut self, key: &SlotKey, now: Moment) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.hurry(now);
        }
    }

    /// What waited for better times in a pool need not wait any more.
    pub(crate) fn forget_deaths(&mut self, pool: &PoolName, now: Moment) {
        for slot in self.slots.values_mut().filter(|slot| slot.pool == *pool) {
            slot.backoff = Backoff::default();
            slot.hurry(now);
        }
    }

    /// Takes in a sample of what a worker uses of so many processors.
    pub(crate) fn measure(&mut self, worker: &WorkerId, usage: Usage, cpus: f64) {
        if let Some(worker) = self.slot_of_mut(worker).and_then(Slot::worker_mut) {
            worker.measure(usage, cpus);
        }
    }
}

pub(crate) fn key_of(worker: &WorkerId) -> SlotKey {
    (worker.pool.clone(), worker.slot)
}
