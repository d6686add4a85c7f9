//! All pools, which of them are not as they should be, and what their containers would be made of now.

use std::collections::{BTreeMap, BTreeSet};

use clb_protocol::api::PoolSource;
use clb_protocol::pool::PoolSpec;
use clb_protocol::{PoolName, PoolVersion, SlotNo};

use crate::build::{Build, Builds, Mixture};
use crate::clock::Moment;
use crate::config::Config;
use crate::fleet::{Fleet, Slot, Stage};
use crate::input::RestoredPool;
use crate::ports::{Reserved, overlap};

use super::state::state_of;
use super::{Definition, Image, Pool};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_name: BTreeMap<PoolName, Pool>,
    unsettled: BTreeSet<PoolName>,
    builds: Builds,
    mixture: Mixture,
}

impl Pools {
    /// The operator's definitions with what callers made of them.
    pub(crate) fn new(config: &Config, restored: Vec<RestoredPool>, now: Moment) -> Self {
        let mut laid_out = Self::default();
        let is_overridden =
            |name: &PoolName| restored.iter().any(|row| row.name == *name && row.spec.is_some());
        for definition in config.pools.iter().filter(|definition| !is_overridden(&definition.name)) {
            let (spec, source) = (definition.spec.clone(), definition.source);
            laid_out.insert(Pool::new(definition.name.clone(), spec, source, false, now.at));
        }
        for RestoredPool { name, spec, is_paused } in restored {
            let Some(spec) = spec else {
                laid_out.pause(&name, is_paused);
                continue;
            };
            // What the operator allows and defines may be another than when it was stored.
            let fault = config.refused.get(&name).cloned();
            let fault = fault.or_else(|| {
                let taken = laid_out.taken_ports(&name, &spec, &config.reserved_ports)?;
                Some(format!("first_port: {taken}; PUT the pool with other ports, or define others"))
            });
            let mut pool = Pool::new(name, spec, PoolSource::Api, is_paused, now.at);
            pool.fault = fault;
            laid_out.insert(pool);
        }
        laid_out
    }

    fn insert(&mut self, pool: Pool) {
        self.unsettled.insert(pool.name.clone());
        self.by_name.insert(pool.name.clone(), pool);
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pool> {
        self.by_name.values()
    }

    pub(crate) fn get(&self, name: &PoolName) -> Option<&Pool> {
        self.by_name.get(name)
    }

    /// A caller wants a pool to be like this; `true` when it is a new one.
    pub(crate) fn put(&mut self, name: &PoolName, spec: PoolSpec, now: Moment) -> bool {
        let is_new = self.get(name).is_none_or(|pool| pool.is_removing);
        if let Some(pool) = self.by_name.get_mut(name) {
            pool.is_removing = false;
            pool.aim_at(spec, PoolSource::Api);
            self.unsettle(name);
        } else {
            self.insert(Pool::new(name.clone(), spec, PoolSource::Api, false, now.at));
        }
        is_new
    }

    /// A pool is to be as its operator defines it.
    pub(crate) fn revert(&mut self, definition: Definition) {
        if let Some(pool) = self.by_name.get_mut(&definition.name) {
            pool.aim_at(definition.spec, definition.source);
            self.unsettle(&definition.name);
        }
    }

    /// A pool lets its containers go, to be removed once it has none.
    pub(crate) fn begin_removal(&mut self, name: &PoolName) {
        if let Some(pool) = self.by_name.get_mut(name) {
            pool.is_removing = true;
            pool.is_paused = false;
            self.unsettle(name);
        }
    }

    /// A pool that was removed has no container any more.
    pub(crate) fn remove(&mut self, name: &PoolName) {
        self.by_name.remove(name);
        self.unsettled.remove(name);
    }

    /// A pool is to hand out nothing, or to go on; `false` when it is so already.
    pub(crate) fn pause(&mut self, name: &PoolName, is_paused: bool) -> bool {
        let Some(pool) = self.by_name.get_mut(name) else { return false };
        std::mem::replace(&mut pool.is_paused, is_paused) != is_paused
    }

    /// Why a pool cannot have the ports that it wants.
    pub(crate) fn taken_ports(
        &self,
        name: &PoolName,
        spec: &PoolSpec,
        reserved: &Reserved,
    ) -> Option<String> {
        let wanted = match reserved.span(spec) {
            Ok(wanted) => wanted?,
            Err(taken) => return Some(taken),
        };
        for pool in self.by_name.values().filter(|pool| pool.fault.is_none() && pool.name != *name) {
            let Ok(Some(other)) = reserved.span(&pool.spec) else { continue };
            if overlap(&wanted, &other) {
                let (first, last) = other.into_inner();
                return Some(format!("the workers of pool {} have ports {first} to {last}", pool.name));
            }
        }
        None
    }

    /// Whether any pool is not as it should be.
    pub(crate) fn any_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    pub(crate) fn is_unsettled(&self, name: &PoolName) -> bool {
        self.unsettled.contains(name)
    }

    /// A pool may not be as it should be.
    pub(crate) fn unsettle(&mut self, name: &PoolName) {
        self.unsettled.insert(name.clone());
    }

    /// Those that are not as they should be: whoever takes them puts back those that still are not.
    pub(crate) fn take_unsettled(&mut self) -> BTreeSet<PoolName> {
        std::mem::take(&mut self.unsettled)
    }

    /// Containers are made of this now; `false` when that is known.
    pub(crate) fn take_builds(&mut self, builds: Builds) -> bool {
        let is_news = builds != self.builds;
        if is_news {
            self.builds = builds;
            self.unsettled.extend(self.by_name.keys().cloned());
        }
        is_news
    }

    /// The orchestrators are of these images: how mixed they were and are.
    pub(crate) fn take_mixture(
        &mut self,
        running: &BTreeSet<Build>,
        stopped: &BTreeSet<Build>,
        now: Moment,
    ) -> (Mixture, Mixture) {
        let mixture = self.mixture.after(running, stopped, now);
        (std::mem::replace(&mut self.mixture, mixture), mixture)
    }

    /// What the containers of a pool are made of now, beyond its spec.
    pub(crate) fn build_of(&self, name: &PoolName) -> Option<&Build> {
        self.builds.of(&self.get(name)?.spec)
    }

    /// Whether a slot's container is made of something else than it should.
    pub(crate) fn is_outdated(&self, slot: &Slot) -> bool {
        let Some(pool) = self.get(&slot.pool) else { return false };
        let has_container = matches!(slot.stage, Stage::Up(_) | Stage::Starting { .. });
        has_container && pool.is_outdated(slot, &self.builds)
    }

    /// Those whose image is to be looked for now, and is from now on.
    pub(crate) fn prepare_images(&mut self, now: Moment) -> Vec<&Pool> {
        let mut due = Vec::new();
        for pool in self.by_name.values_mut().filter(|pool| pool.wanted() > 0) {
            if let Some(failures) = pool.image_is_due(now) {
                pool.image = Image::Preparing { failures };
                due.push(&*pool);
            }
        }
        due
    }

    /// The image of a pool is there, or cannot be had; `false` when that was not asked of this version.
    pub(crate) fn take_image(
        &mut self,
        name: &PoolName,
        version: PoolVersion,
        outcome: Result<(), String>,
        now: Moment,
    ) -> bool {
        let Some(pool) = self.by_name.get_mut(name) else { return false };
        if pool.version(SlotNo(1)) != version || !matches!(pool.image, Image::Preparing { .. }) {
            return false;
        }
        match outcome {
            Ok(()) => pool.image = Image::Ready,
            Err(reason) => pool.fail_image(reason, now),
        }
        true
    }

    /// A container could not be made: the image of its pool may have been removed from under it.
    pub(crate) fn doubt_image(&mut self, name: &PoolName) {
        if let Some(pool) = self.by_name.get_mut(name).filter(|pool| pool.spec.image.is_some())
            && pool.has_image()
        {
            pool.image = Image::Wanted { failures: 0 };
        }
    }

    /// Works out what each pool is doing.
    pub(crate) fn review(&mut self, fleet: &Fleet, now: Moment) {
        for pool in self.by_name.values_mut() {
            let slots: Vec<&Slot> = fleet.slots_of(&pool.name).collect();
            let is_unsettled = self.unsettled.contains(&pool.name);
            let (state, reason) = state_of(pool, &slots, &self.builds, is_unsettled);
            if state != pool.state {
                pool.since = now.at;
            }
            (pool.state, pool.reason) = (state, reason);
        }
    }

    /// Whether nothing is known of pools that are not there.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.unsettled.iter().find(|name| !self.by_name.contains_key(name)) {
            Some(name) => Err(format!("{name} is to be settled and is not there")),
            None => Ok(()),
        }
    }
}
