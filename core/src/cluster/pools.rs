//! What callers wish of pools and workers, and the images that pools need.

use clb_protocol::api::PoolSource;
use clb_protocol::pool::PoolSpec;
use clb_protocol::{PoolName, PoolVersion, SlotNo};

use crate::clock::Moment;
use crate::fleet::{Slot, SlotKey, Stage, Standing};
use crate::output::{Change, FleetAction, Note, Output, PoolReceipt};

use super::Cluster;

impl Cluster {
    /// Makes an empty slot where there is none.
    pub(super) fn make_slot(&mut self, key: &SlotKey, now: Moment) {
        let Some(pool) = self.pools.get(&key.0) else { return };
        let reserved = &self.config.reserved_ports;
        let ports = || (pool.inner_port(key.1, reserved), pool.published_port(key.1, reserved));
        self.fleet.add_slot(key, ports, now);
    }

    pub(super) fn put_pool(&mut self, name: &PoolName, spec: PoolSpec, now: Moment, out: &mut Output) {
        if let Some(taken) = self.taken_ports(name, &spec) {
            out.pool = Some(PoolReceipt::PortsTaken(taken));
            return;
        }
        self.send_refused_away(name, out);
        let is_new = self.pools.put(name, spec, now);
        self.fleet.forget_deaths(name, now);
        self.save_pool(name, out);
        out.notes.push(Note::Fleet(format!("The pool {name} is {}", if is_new { "new" } else { "changed" })));
        out.pool = Some(if is_new { PoolReceipt::Created } else { PoolReceipt::Changed });
    }

    pub(super) fn remove_pool(&mut self, name: &PoolName, now: Moment, out: &mut Output) {
        let definition = self.config.definition(name).cloned();
        let taken = definition.as_ref().and_then(|definition| self.taken_ports(name, &definition.spec));
        if definition.is_some() && taken.is_none() {
            self.send_refused_away(name, out);
        }
        let Some(pool) = self.pools.get(name).filter(|pool| !pool.is_removing) else {
            out.pool = Some(PoolReceipt::Unknown);
            return;
        };
        out.pool = Some(match (definition, taken) {
            (Some(_), _) if pool.source != PoolSource::Api => PoolReceipt::AsDefined,
            (Some(_), Some(taken)) => PoolReceipt::PortsTaken(taken),
            (Some(definition), None) => {
                self.pools.revert(definition);
                self.fleet.forget_deaths(name, now);
                self.save_pool(name, out);
                PoolReceipt::Removed
            }
            (None, _) if self.tasks.open_in(name) > 0 => PoolReceipt::HasTasks,
            (None, _) => {
                self.pools.begin_removal(name);
                out.changes.push(Change::PoolForgotten(name.clone()));
                self.forget_orders(name, out);
                PoolReceipt::Removed
            }
        });
        if out.pool == Some(PoolReceipt::Removed) {
            out.notes.push(Note::Fleet(format!(
                "The pool {name} is removed, or back to its operator's definition"
            )));
        }
    }

    /// Workers that are left of a spec which the operator does not allow get no tasks any more, whatever their pool
    /// is to be from now on.
    fn send_refused_away(&mut self, name: &PoolName, out: &mut Output) {
        if self.pools.get(name).is_none_or(|pool| pool.fault.is_none()) {
            return;
        }
        let is_there = |slot: &&Slot| !matches!(slot.stage, Stage::Vacant { .. });
        let there = self.fleet.slots_of(name).filter(is_there).map(Slot::key).collect();
        self.order_all(there, Standing::Restart, out);
    }

    /// What was ordered of its workers does not hold for another pool of the same name.
    fn forget_orders(&mut self, name: &PoolName, out: &mut Output) {
        let all = self.fleet.slots_of(name).map(Slot::key).collect();
        self.order_all(all, Standing::Serve, out);
    }

    fn order_all(&mut self, slots: Vec<SlotKey>, standing: Standing, out: &mut Output) {
        for key in slots {
            if self.fleet.order(&key, standing) {
                let (pool, slot) = key;
                out.changes.push(Change::SlotOrdered { pool, slot, standing });
            }
        }
    }

    pub(super) fn pause_pool(&mut self, name: &PoolName, is_paused: bool, out: &mut Output) {
        if self.pools.get(name).is_none_or(|pool| pool.is_removing) {
            out.pool = Some(PoolReceipt::Unknown);
            return;
        }
        if self.pools.pause(name, is_paused) {
            let does = if is_paused { "is paused" } else { "goes on" };
            out.notes.push(Note::Fleet(format!("The pool {name} {does}")));
            self.save_pool(name, out);
        }
        out.pool = Some(PoolReceipt::Changed);
    }

    pub(super) fn order_worker(&mut self, name: &str, standing: Standing, now: Moment, out: &mut Output) {
        let Some(slot) = self.fleet.slots().find(|slot| slot.worker_id().name() == name) else { return };
        let key = slot.key();
        if self.fleet.order(&key, standing) {
            self.fleet.mark_changed(&key, now);
            let (pool, slot) = key.clone();
            out.changes.push(Change::SlotOrdered { pool, slot, standing });
            let does = match standing {
                Standing::Serve => "takes tasks again",
                Standing::Drain => "takes no more tasks and finishes what it has",
                Standing::Restart => "finishes what it has and is replaced",
            };
            out.notes.push(Note::Fleet(format!("{name} {does}")));
        }
        self.pools.unsettle(&key.0);
        out.ordered = Some(key);
    }

    fn save_pool(&self, name: &PoolName, out: &mut Output) {
        let Some(pool) = self.pools.get(name) else { return };
        let spec = (pool.source == PoolSource::Api).then(|| pool.spec.clone());
        out.changes.push(if spec.is_none() && !pool.is_paused {
            Change::PoolForgotten(name.clone())
        } else {
            Change::PoolSaved { name: name.clone(), spec, is_paused: pool.is_paused }
        });
    }

    fn taken_ports(&self, name: &PoolName, spec: &PoolSpec) -> Option<String> {
        self.pools.taken_ports(name, spec, &self.config.reserved_ports)
    }

    /// Which pools may have no workers, and why.
    pub(super) fn tell_faults(&self, out: &mut Output) {
        for (name, fault) in self.pools.all().filter_map(|pool| Some((&pool.name, pool.fault.as_ref()?))) {
            out.notes.push(Note::Fleet(format!("The pool {name} cannot get workers: {fault}")));
        }
    }

    /// Has every image seen to that is due.
    pub(super) fn prepare_images(&mut self, now: Moment, out: &mut Output) {
        if self.retired {
            return;
        }
        for pool in self.pools.prepare_images(now) {
            let (name, version) = (pool.name.clone(), pool.version(SlotNo(1)));
            out.fleet.push(FleetAction::Prepare { pool: name, version, spec: pool.spec.clone() });
        }
    }

    pub(super) fn take_image(
        &mut self,
        name: &PoolName,
        version: PoolVersion,
        outcome: Result<(), String>,
        now: Moment,
        out: &mut Output,
    ) {
        let trouble = outcome.as_ref().err().cloned();
        if !self.retired
            && self.pools.take_image(name, version, outcome, now)
            && let Some(reason) = trouble
        {
            out.notes.push(Note::Fleet(format!("The pool {name} cannot get workers: {reason}")));
        }
    }
}
