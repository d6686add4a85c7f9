//! A pool as it is wanted, what its containers are made of, and how far its image is ([`Pool`]), and all of them
//! (`Pools`), which alone write to them.
//!
//! Not here: how a pool gets the workers that it should have, which the cluster decides (`cluster/steering.rs`).

mod pools;
mod state;

use std::sync::Arc;
use std::time::Duration;

use clb_protocol::api::{PoolSource, PoolState};
use clb_protocol::pool::{Placement, PoolSpec};
use clb_protocol::{PoolName, PoolVersion, SlotNo, Timestamp};

use crate::build::Builds;
use crate::clock::Moment;
use crate::fleet::Slot;
use crate::ports::Reserved;

pub(crate) use self::pools::Pools;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// Where the first worker listens inside of its container when it is not published.
const FIRST_INNER_PORT: u16 = 3_004;

/// A pool as the operator defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: PoolName,
    /// As it is wanted.
    pub spec: PoolSpec,
    /// Where that stands.
    pub source: PoolSource,
}

/// How far the image of a pool's next containers is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// It has to be looked for.
    Wanted {
        /// How often in a row that failed.
        failures: u32,
    },
    /// It is looked for, or pulled.
    Preparing {
        /// How often in a row that failed.
        failures: u32,
    },
    /// Containers can be made.
    Ready,
    /// It cannot be had now.
    Failed {
        /// Why, for people.
        reason: String,
        /// How often in a row that failed.
        failures: u32,
        /// When it is looked for again.
        retry_at: Moment,
    },
}

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Where its spec comes from.
    pub source: PoolSource,
    /// As it is wanted.
    pub spec: Arc<PoolSpec>,
    /// What the containers of its places are made of, and those beyond them, which are never published.
    versions: [PoolVersion; 2],
    /// Why it may have no workers until it is changed, for people.
    pub fault: Option<String>,
    /// Whether it hands out nothing.
    pub is_paused: bool,
    /// Whether it was deleted and lets its containers go.
    pub is_removing: bool,
    /// How far its image is.
    pub image: Image,
    /// What it is doing.
    pub state: PoolState,
    /// Why, where the state does not say enough.
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: Timestamp,
}

impl Pool {
    /// A pool that nothing is known of but how it is wanted.
    fn new(name: PoolName, spec: PoolSpec, source: PoolSource, is_paused: bool, now: Timestamp) -> Self {
        Self {
            name,
            source,
            versions: [fingerprint(&spec, true), fingerprint(&spec, false)],
            image: first_image(&spec),
            spec: Arc::new(spec),
            fault: None,
            is_paused,
            is_removing: false,
            state: PoolState::Preparing,
            reason: None,
            since: now,
        }
    }

    /// Whether its containers can be made.
    #[must_use]
    pub fn has_image(&self) -> bool {
        self.image == Image::Ready
    }

    /// Changes how it is wanted.
    fn aim_at(&mut self, spec: PoolSpec, source: PoolSource) {
        self.versions = [fingerprint(&spec, true), fingerprint(&spec, false)];
        self.image = first_image(&spec);
        self.spec = Arc::new(spec);
        self.source = source;
        self.fault = None;
    }

    /// How many workers it should have.
    #[must_use]
    pub fn wanted(&self) -> u16 {
        if self.is_removing || self.fault.is_some() { 0 } else { self.spec.workers }
    }

    /// Whether it hands out tasks.
    #[must_use]
    pub fn hands_out(&self) -> bool {
        !self.is_paused && self.fault.is_none()
    }

    /// What the container of a place is to be made of.
    #[must_use]
    pub fn version(&self, no: SlotNo) -> PoolVersion {
        self.versions[usize::from(no.0 > self.wanted())]
    }

    /// Whether a place's container is made of something else than it would be now. What nobody could tell yet
    /// is no difference.
    #[must_use]
    pub fn is_outdated(&self, slot: &Slot, builds: &Builds) -> bool {
        let (made_of, now) = (slot.build.as_ref(), builds.of(&self.spec));
        slot.version.is_some_and(|version| version != self.version(slot.no))
            || made_of.zip(now).is_some_and(|(made_of, now)| made_of != now)
    }

    /// Where the worker of a place listens inside of its container.
    #[must_use]
    pub fn inner_port(&self, no: SlotNo, reserved: &Reserved) -> u16 {
        reserved.nth(self.spec.first_port.unwrap_or(FIRST_INNER_PORT), no.0).unwrap_or(u16::MAX)
    }

    /// The port on the host for the worker of a place.
    #[must_use]
    pub fn published_port(&self, no: SlotNo, reserved: &Reserved) -> Option<u16> {
        self.spec.first_port.filter(|_| no.0 <= self.wanted()).map(|_| self.inner_port(no, reserved))
    }

    /// Takes in that the image cannot be had.
    fn fail_image(&mut self, reason: String, now: Moment) {
        let Image::Preparing { failures } = self.image else { return };
        let wait = FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY);
        self.image = Image::Failed { reason, failures: failures + 1, retry_at: now + wait };
    }

    /// What is done to have the image, while it is.
    #[must_use]
    pub fn image_under_way(&self) -> Option<String> {
        let image = self.spec.image.as_ref()?;
        let is_under_way = matches!(self.image, Image::Wanted { .. } | Image::Preparing { .. });
        is_under_way
            .then(|| format!("the image {image} is being looked up, and pulled if it is not on this machine"))
    }

    /// Whether the image is to be looked for now.
    #[must_use]
    pub fn image_is_due(&self, now: Moment) -> Option<u32> {
        match self.image {
            Image::Wanted { failures } => Some(failures),
            Image::Failed { failures, retry_at, .. } => (retry_at <= now).then_some(failures),
            Image::Preparing { .. } | Image::Ready => None,
        }
    }
}

/// The bundled image is the operator's affair: a worker that lacks it says so itself.
fn first_image(spec: &PoolSpec) -> Image {
    if spec.image.is_some() || !spec.network { Image::Wanted { failures: 0 } } else { Image::Ready }
}

/// FNV-1a over everything that a container is made of.
fn fingerprint(spec: &PoolSpec, is_published: bool) -> PoolVersion {
    let first_port = spec.first_port.filter(|_| is_published);
    let made_of = PoolSpec { workers: 0, placement: Placement::default(), first_port, ..spec.clone() };
    let text = serde_json::to_vec(&made_of).unwrap_or_default();
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    PoolVersion(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(spec: PoolSpec) -> Pool {
        Pool::new("p".into(), spec, PoolSource::Api, false, Timestamp(0))
    }

    #[test]
    fn only_what_a_container_is_made_of_makes_another_version() {
        let spec = PoolSpec { first_port: Some(4_000), workers: 2, ..PoolSpec::default() };
        let before = pool(spec.clone());
        let more = pool(PoolSpec { workers: 3, placement: Placement::Random, ..spec.clone() });
        assert_eq!(before.version(SlotNo(1)), more.version(SlotNo(1)));
        let slower = pool(PoolSpec { cpus: 0.5, ..spec });
        assert_ne!(before.version(SlotNo(1)), slower.version(SlotNo(1)));
    }

    #[test]
    fn a_worker_beyond_the_places_is_not_published_and_is_another_version() {
        let pool = pool(PoolSpec { first_port: Some(4_000), workers: 2, ..PoolSpec::default() });
        let published = |no| pool.published_port(SlotNo(no), &Reserved::default());
        assert_eq!((published(2), published(3)), (Some(4_001), None));
        assert_ne!(pool.version(SlotNo(2)), pool.version(SlotNo(3)));
    }

    #[test]
    fn an_image_that_cannot_be_had_is_looked_for_less_and_less_often() {
        let mut pool = pool(PoolSpec { image: Some("a".into()), ..PoolSpec::default() });
        let mut waits = Vec::new();
        for failures in 0..9 {
            pool.image = Image::Preparing { failures };
            pool.fail_image("no".into(), Moment::ORIGIN);
            let Image::Failed { retry_at, .. } = pool.image else { panic!() };
            waits.push(retry_at.since(Moment::ORIGIN).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
