//! The reducer: state of all tasks, workers and slots, written here and nowhere else.
//!
//! `tasks.rs` has what happens to tasks, `waiting.rs` how they wait, `workers.rs` what workers say,
//! `fleet.rs` what becomes of containers, `pools.rs` what callers wish of pools, `builds.rs` what an upgrade
//! brings, `steering.rs` how pools get there, `dispatch.rs` who gets a task, `explain.rs` why, `views.rs` what
//! pages show, `restore.rs` what a new leader begins with, `invariants.rs` what must always hold.

mod builds;
mod dispatch;
mod explain;
mod fleet;
mod invariants;
mod losses;
mod outcomes;
mod pools;
mod restore;
mod steering;
mod submissions;
#[cfg(test)]
mod tests;
mod views;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clb_protocol::{AttemptNo, Epoch, Generation, PoolName, SlotNo, TaskId, WorkerId};

use crate::build::Builds;
use crate::clock::Moment;
use crate::config::Config;
use crate::fleet::{Course, Link, Slot, Stage};
use crate::input::{Input, LinkNo};
use crate::output::Output;
use crate::pool::{Image, Pool};
use crate::task::Tasks;

pub use self::restore::Restoration;

type SlotKey = (PoolName, SlotNo);

/// A worker that was not heard for this long may be lost, and gets nothing more.
const DOUBT: Duration = Duration::from_secs(2);

/// A time in which workers that may hold tasks are waited for.
#[derive(Clone, Copy, Debug)]
struct Settling {
    until: Moment,
    /// Whether it is over once everybody has joined. Right after a time in which the leader did not run,
    /// even what was heard is old.
    may_end_early: bool,
}

/// How often running tasks are held against their timeouts.
const TIMEOUT_CHECK: Duration = Duration::from_secs(1);

/// Everything that a leader decides on.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    epoch: Epoch,
    tasks: Tasks,
    pools: BTreeMap<PoolName, Pool>,
    /// Pools that are not as they should be.
    unsettled: BTreeSet<PoolName>,
    slots: BTreeMap<SlotKey, Slot>,
    /// The newest generation of each slot that there was.
    generations: BTreeMap<SlotKey, Generation>,
    links: BTreeMap<LinkNo, SlotKey>,
    /// Attempts that the store shows as running, until their workers are found or found missing.
    unclaimed: BTreeMap<WorkerId, BTreeMap<TaskId, AttemptNo>>,
    /// Who died before Docker's first list came, which may still show them alive.
    early_deaths: BTreeSet<WorkerId>,
    /// Attempts without a verdict, lost in slots that are no more.
    unjudgeable: Vec<(TaskId, AttemptNo)>,
    given: u64,
    /// Whether Docker's list of containers was seen in this term.
    observed: bool,
    retired: bool,
    builds: Builds,
    mixture: builds::Mixture,
    /// `None` once it is known who holds what.
    settling: Option<Settling>,
    store_available: bool,
    checked_timeouts_at: Moment,
    /// When the term began.
    began_at: Moment,
}

impl Cluster {
    /// Takes in one fact and answers with everything that follows from it.
    pub fn handle(&mut self, input: Input, now: Moment) -> Output {
        let mut out = Output::default();
        let is_report = matches!(input, Input::WorkerReported { .. });
        let concerns_pools = concerns_pools(&input) || is_report && !self.unsettled.is_empty();
        match input {
            Input::Submitted(tasks) => self.accept(tasks, now, &mut out),
            Input::Stored(ids) => ids.iter().for_each(|id| self.tasks.store(*id, now)),
            Input::NotStored(ids) => ids.iter().for_each(|id| self.tasks.forget(*id)),
            Input::CancelRequested { ids, which } => {
                out.cancelled = ids.iter().map(|id| self.cancel(*id, which, now, &mut out)).collect();
            }
            Input::StoreAvailable(available) => self.store_available = available,
            Input::PoolPut { name, spec } => self.put_pool(&name, *spec, now, &mut out),
            Input::PoolRemoved(name) => self.remove_pool(&name, now, &mut out),
            Input::PoolPaused { name, is_paused } => self.pause_pool(&name, is_paused, &mut out),
            Input::WorkerOrdered { name, standing } => self.order_worker(&name, standing, now, &mut out),
            Input::ImageReady { pool, version } => self.take_image(&pool, version, Ok(()), now, &mut out),
            Input::ImageFailed { pool, version, reason } => {
                self.take_image(&pool, version, Err(reason), now, &mut out);
            }
            Input::WorkerJoined { link, hello } => self.join(link, hello, now, &mut out),
            Input::WorkerReported { link, finished, leaving } => {
                self.take_report(link, finished, leaving, now, &mut out);
            }
            Input::LinkClosed(link) => self.lose_link(link, now, &mut out),
            Input::OrderLost { link, task, attempt } => {
                self.lose_order(link, task, attempt, None, now, &mut out);
            }
            Input::OrderUnreadable { link, task, attempt, reason } => {
                self.lose_order(link, task, attempt, Some(reason), now, &mut out);
            }
            Input::WorkerProbed { worker, answer } => self.take_probe(&worker, answer, now, &mut out),
            Input::FleetObserved { seen, asked_at } => self.reconcile(&seen, asked_at, now, &mut out),
            Input::BuildsSeen { builds, orchestrators, stopped } => {
                self.take_builds(builds, &orchestrators, &stopped, now, &mut out);
            }
            Input::ContainerStarted { worker, container } => self.take_started(&worker, container, now),
            Input::ContainerFailed { worker, reason } => self.take_failed(&worker, reason, now, &mut out),
            Input::ContainerSignalled { worker, signal } => {
                if let Some(slot) = self.slot_of(&worker) {
                    slot.signalled = Some(signal);
                }
            }
            Input::ContainerDied(worker) => self.take_death(&worker, now, &mut out),
            Input::Buried { worker, remains } => self.take_burial(&worker, &remains, now, &mut out),
            Input::UsageSampled { worker, usage } => {
                let cpus = self.pools.get(&worker.pool).map_or(1.0, |pool| pool.spec.cpus);
                if let Some(worker) = self.slot_of(&worker).and_then(Slot::worker_mut) {
                    worker.measure(usage, cpus);
                }
            }
            Input::Resumed => self.excuse_silence(now),
            Input::Retired => self.retire(now, &mut out),
            Input::TimePassed => self.expire(now, &mut out),
        }
        if concerns_pools {
            self.prepare_images(now, &mut out);
            self.steer(now, &mut out);
        }
        self.fill_vacant_slots(now, &mut out);
        if concerns_pools {
            self.review_pools(now);
        }
        self.dispatch(now, &mut out);
        out
    }

    /// When [`Input::TimePassed`] is due; `None` when nothing will happen by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let slots = self.slots.values().flat_map(|slot| {
            let stage = match &slot.stage {
                Stage::Vacant { not_before } => self.may_fill(slot).then_some(*not_before),
                Stage::Starting { .. } => Some(slot.since + self.config.start_limit),
                Stage::Up(worker) => {
                    let leave = worker.leaving_since.map(|since| since + self.config.leave_limit);
                    Some(leave.into_iter().fold(self.link_deadline(worker.link), Moment::min))
                }
                Stage::Burying { .. } => None,
            };
            let judgement =
                (!slot.unjudged.is_empty()).then(|| slot.unjudged_since + self.config.verdict_limit);
            [stage, judgement].into_iter().flatten()
        });
        let timeouts = self.tasks.any_runs().then(|| self.checked_timeouts_at + TIMEOUT_CHECK);
        let settled = self.settling.filter(|_| !self.retired).map(|settling| settling.until);
        let rested = self.tasks.next_wake(now);
        let images = self.pools.values().filter_map(|pool| match pool.image {
            Image::Failed { retry_at, .. } if !self.retired && pool.wanted() > 0 => Some(retry_at),
            _ => None,
        });
        slots.chain(timeouts).chain(settled).chain(rested).chain(images).min()
    }

    /// Whether an empty slot may have a container, once its time has come.
    fn may_fill(&self, slot: &Slot) -> bool {
        let has_image = || self.pools.get(&slot.pool).is_some_and(|pool| pool.image == Image::Ready);
        self.observed && !self.retired && slot.course == Course::Stay && has_image()
    }

    fn link_deadline(&self, link: Link) -> Moment {
        match link {
            Link::Awaited { until } => until,
            Link::Open { heard_at, .. } => heard_at + self.config.silence_limit,
            Link::Closed { since } => since + self.config.silence_limit,
            Link::Stopped { since } => since + self.config.soft_stop_grace,
        }
    }

    /// The slots of a pool, in order.
    fn pool_slots(&self, name: &PoolName) -> impl DoubleEndedIterator<Item = &Slot> {
        let range = (name.clone(), SlotNo(0))..=(name.clone(), SlotNo(u16::MAX));
        self.slots.range(range).map(|(_, slot)| slot)
    }

    /// The slot that this worker fills now; `None` for a worker of an earlier generation.
    fn slot_of(&mut self, worker: &WorkerId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&(worker.pool.clone(), worker.slot))?;
        (slot.generation == worker.generation).then_some(slot)
    }
}

/// Whether an input can change what pools are doing; what only concerns tasks must stay fast.
fn concerns_pools(input: &Input) -> bool {
    !matches!(
        input,
        Input::Submitted(_)
            | Input::Stored(_)
            | Input::NotStored(_)
            | Input::CancelRequested { .. }
            | Input::StoreAvailable(_)
            | Input::WorkerReported { leaving: None, .. }
            | Input::UsageSampled { .. }
    )
}
