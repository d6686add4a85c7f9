//! The reducer: it is told what happened and decides what follows.
//!
//! The state is in three parts, which let nobody else write to it: [`Tasks`] (`task/tasks.rs`), [`Fleet`]
//! (`fleet/mod.rs`) and [`Pools`] (`pool/pools.rs`). Each keeps its own books and knows none of the others'; here is
//! what one has to do with another, and everything that leaves as [`Output`].
//!
//! - What comes in: `submissions.rs` from callers about tasks, `pools.rs` about pools and workers, `workers.rs` from
//!   workers, `containers.rs` and `builds.rs` from Docker, `deadlines.rs` from the clock.
//! - What follows: `outcomes.rs` how attempts end, `losses.rs` how they are lost and judged, `dispatch.rs` who gets a
//!   task, `steering.rs` how pools get their workers.
//! - What is seen: `views.rs` on pages, `explain.rs` of why a task waits.
//! - `restore.rs` is what a new leader begins with, `invariants.rs` what must hold after every step.

mod builds;
mod containers;
mod deadlines;
mod dispatch;
mod explain;
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

use std::time::Duration;

use clb_protocol::Epoch;

use crate::clock::Moment;
use crate::config::Config;
use crate::fleet::Fleet;
use crate::input::Input;
use crate::output::Output;
use crate::pool::Pools;
use crate::task::Tasks;

pub use self::restore::Restoration;

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

/// Everything that a leader decides on.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    epoch: Epoch,
    tasks: Tasks,
    pools: Pools,
    fleet: Fleet,
    retired: bool,
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
        let concerns_pools = concerns_pools(&input) || is_report && self.pools.any_unsettled();
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
            Input::ContainerStarted { worker, container } => self.fleet.start(&worker, container, now),
            Input::ContainerFailed { worker, reason } => self.take_failed(&worker, &reason, now, &mut out),
            Input::ContainerSignalled { worker, signal } => self.fleet.signal(&worker, signal),
            Input::ContainerDied(worker) => self.take_death(&worker, now, &mut out),
            Input::Buried { worker, remains } => self.take_burial(&worker, &remains, now, &mut out),
            Input::UsageSampled { worker, usage } => {
                let cpus = self.pools.get(&worker.pool).map_or(1.0, |pool| pool.spec.cpus);
                self.fleet.measure(&worker, usage, cpus);
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
            self.pools.review(&self.fleet, now);
        }
        self.dispatch(now, &mut out);
        out
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
