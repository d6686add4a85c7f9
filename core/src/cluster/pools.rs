//! What callers wish of pools and workers.

use clb_protocol::api::{PoolSource, PoolState};
use clb_protocol::pool::PoolSpec;
use clb_protocol::{Generation, PoolName, PoolVersion, SlotNo};

use crate::build::Builds;
use crate::clock::Moment;
use crate::fleet::{Slot, SlotKey, Stage, Standing};
use crate::input::RestoredPool;
use crate::output::{Change, FleetAction, Note, Output, PoolReceipt};
use crate::pool::{Image, Pool};
use crate::ports::overlap;

use super::Cluster;

impl Cluster {
    /// The operator's definitions with what callers made of them.
    pub(super) fn lay_out_pools(&mut self, restored: Vec<RestoredPool>, now: Moment) {
        let is_overridden =
            |name: &PoolName| restored.iter().any(|row| row.name == *name && row.spec.is_some());
        for definition in self.config.pools.iter().filter(|definition| !is_overridden(&definition.name)) {
            let (spec, source) = (definition.spec.clone(), definition.source);
            let pool = Pool::new(definition.name.clone(), spec, source, false, now.at);
            self.pools.insert(definition.name.clone(), pool);
        }
        for RestoredPool { name, spec, is_paused } in restored {
            let Some(spec) = spec else {
                if let Some(pool) = self.pools.get_mut(&name) {
                    pool.is_paused = is_paused;
                }
                continue;
            };
            // What the operator allows and defines may be another than when it was stored.
            let fault = self.config.refused.get(&name).cloned();
            let fault = fault.or_else(|| {
                let taken = self.taken_ports(&name, &spec)?;
                Some(format!("first_port: {taken}; PUT the pool with other ports, or define them otherwise"))
            });
            let mut pool = Pool::new(name.clone(), spec, PoolSource::Api, is_paused, now.at);
            pool.fault = fault;
            self.pools.insert(name, pool);
        }
        self.unsettled = self.pools.keys().cloned().collect();
    }

    /// Every place that a pool has, and every further one that a container may still be in.
    pub(super) fn lay_out_slots(
        &mut self,
        generations: &[(PoolName, SlotNo, Generation)],
        standings: Vec<(PoolName, SlotNo, Standing)>,
        now: Moment,
    ) {
        for (pool, no, generation) in generations {
            self.fleet.restore_generation((pool.clone(), *no), *generation);
            if self.pools.contains_key(pool) {
                self.make_slot(&(pool.clone(), *no), now);
            }
        }
        let pools: Vec<(PoolName, u16)> = self.pools.values().map(|p| (p.name.clone(), p.wanted())).collect();
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
        let is_new = self.pools.get(name).is_none_or(|pool| pool.is_removing);
        self.send_refused_away(name, out);
        if let Some(pool) = self.pools.get_mut(name) {
            pool.is_removing = false;
            pool.aim_at(spec, PoolSource::Api);
        } else {
            let pool = Pool::new(name.clone(), spec, PoolSource::Api, false, now.at);
            self.pools.insert(name.clone(), pool);
        }
        self.take_up(name, now);
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
        let Some(pool) = self.pools.get_mut(name).filter(|pool| !pool.is_removing) else {
            out.pool = Some(PoolReceipt::Unknown);
            return;
        };
        out.pool = Some(match definition {
            Some(_) if pool.source != PoolSource::Api => PoolReceipt::AsDefined,
            Some(definition) => {
                if let Some(taken) = taken {
                    out.pool = Some(PoolReceipt::PortsTaken(taken));
                    return;
                }
                pool.aim_at(definition.spec, definition.source);
                self.take_up(name, now);
                self.save_pool(name, out);
                PoolReceipt::Removed
            }
            None if self.tasks.open_in(name) > 0 => PoolReceipt::HasTasks,
            None => {
                pool.is_removing = true;
                pool.is_paused = false;
                self.unsettled.insert(name.clone());
                out.changes.push(Change::PoolForgotten(name.clone()));
                self.forget_orders(name, out);
                PoolReceipt::Removed
            }
        });
        if out.pool == Some(PoolReceipt::Removed) {
            out.notes.push(Note::Fleet(format!("The pool {name} is removed or as its operator defines it")));
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
        let Some(pool) = self.pools.get_mut(name).filter(|pool| !pool.is_removing) else {
            out.pool = Some(PoolReceipt::Unknown);
            return;
        };
        if std::mem::replace(&mut pool.is_paused, is_paused) != is_paused {
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
        self.unsettled.insert(key.0.clone());
        out.ordered = Some(key);
    }

    /// A pool is wanted differently: what waited for better times need not wait any more.
    fn take_up(&mut self, name: &PoolName, now: Moment) {
        self.unsettled.insert(name.clone());
        self.fleet.forget_deaths(name, now);
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

    /// Why a pool cannot have the ports that it wants.
    fn taken_ports(&self, name: &PoolName, spec: &PoolSpec) -> Option<String> {
        let reserved = &self.config.reserved_ports;
        let wanted = match reserved.span(spec) {
            Ok(wanted) => wanted?,
            Err(taken) => return Some(taken),
        };
        for pool in self.pools.values().filter(|pool| pool.fault.is_none() && pool.name != *name) {
            let Ok(Some(other)) = reserved.span(&pool.spec) else { continue };
            if overlap(&wanted, &other) {
                let (first, last) = other.into_inner();
                return Some(format!("the workers of pool {} have ports {first} to {last}", pool.name));
            }
        }
        None
    }

    /// Which pools may have no workers, and why.
    pub(super) fn tell_faults(&self, out: &mut Output) {
        for (name, fault) in self.pools.values().filter_map(|pool| Some((&pool.name, pool.fault.as_ref()?))) {
            out.notes.push(Note::Fleet(format!("The pool {name} cannot have workers: {fault}")));
        }
    }

    /// Has every image seen to that is due.
    pub(super) fn prepare_images(&mut self, now: Moment, out: &mut Output) {
        if self.retired {
            return;
        }
        for pool in self.pools.values_mut().filter(|pool| pool.wanted() > 0) {
            if let Some(failures) = pool.image_is_due(now) {
                pool.image = Image::Preparing { failures };
                out.fleet.push(FleetAction::Prepare {
                    pool: pool.name.clone(),
                    version: pool.version(SlotNo(1)),
                    spec: pool.spec.clone(),
                });
            }
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
        let Some(pool) = self.pools.get_mut(name) else { return };
        if self.retired
            || pool.version(SlotNo(1)) != version
            || !matches!(pool.image, Image::Preparing { .. })
        {
            return;
        }
        match outcome {
            Ok(()) => pool.image = Image::Ready,
            Err(reason) => {
                out.notes.push(Note::Fleet(format!("The pool {name} cannot have workers: {reason}")));
                pool.fail_image(reason, now);
            }
        }
    }

    /// Works out what each pool is doing.
    pub(super) fn review_pools(&mut self, now: Moment) {
        for pool in self.pools.values_mut() {
            let slots: Vec<&Slot> = self.fleet.slots().filter(|slot| slot.pool == pool.name).collect();
            let (state, reason) =
                standing_of(pool, &slots, &self.builds, self.unsettled.contains(&pool.name));
            if state != pool.state {
                pool.since = now.at;
            }
            (pool.state, pool.reason) = (state, reason);
        }
    }
}

fn standing_of(
    pool: &Pool,
    slots: &[&Slot],
    builds: &Builds,
    is_unsettled: bool,
) -> (PoolState, Option<String>) {
    if pool.is_removing {
        return (PoolState::Removing, None);
    }
    if let Some(reason) = &pool.fault {
        return (PoolState::Failed, Some(reason.clone()));
    }
    if let Image::Failed { reason, .. } = &pool.image {
        return (PoolState::Failed, Some(reason.clone()));
    }
    let is_bad = |slot: &&&Slot| match &slot.stage {
        Stage::Vacant { not_before } => *not_before > slot.since,
        _ => false,
    };
    let trouble = || slots.iter().find(is_bad).and_then(|slot| slot.reason.clone());
    let is_up = slots.iter().any(|slot| matches!(slot.stage, Stage::Up(_)));
    if pool.wanted() > 0 && !is_up {
        return match trouble() {
            Some(reason) => (PoolState::Failed, Some(reason)),
            None => (PoolState::Preparing, pool.image_under_way()),
        };
    }
    let is_moving = |slot: &&Slot| slot.no.0 > pool.wanted() || pool.is_outdated(slot, builds);
    if is_unsettled && slots.iter().any(is_moving) {
        return (PoolState::Updating, trouble());
    }
    (PoolState::Ready, trouble())
}
