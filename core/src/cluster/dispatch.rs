//! Gives waiting tasks to workers with free slots. Tasks are bound as late as possible: they wait
//! here and never on a worker.

use clb_protocol::PoolName;

use crate::clock::Moment;
use crate::fleet::{Given, Link, Slot, SlotKey, Stage, Worker};
use crate::output::{Change, Note, Order, Output};
use crate::placement::{Candidate, Placed, Shortlist, choose};
use crate::task::{Placing, RunningAttempt};

use super::{Cluster, DOUBT};

impl Cluster {
    pub(super) fn dispatch(&mut self, now: Moment, out: &mut Output) {
        if self.retired || !self.has_settled(now) || !self.store_available {
            return;
        }
        let waiting: Vec<PoolName> = self
            .pools
            .all()
            .filter(|pool| pool.hands_out() && self.tasks.any_queued_in(&pool.name))
            .map(|pool| pool.name.clone())
            .collect();
        for pool in waiting {
            self.dispatch_pool(&pool, now, out);
        }
    }

    fn dispatch_pool(&mut self, pool: &PoolName, now: Moment, out: &mut Output) {
        let Some(policy) = self.pools.get(pool).map(|pool| pool.spec.placement) else { return };
        let of_pool = || {
            let slots = self.fleet.slots_of(pool);
            slots.filter_map(|slot| candidate(slot, now).map(|candidate| (slot, candidate)))
        };
        let free_slots = |candidate: &Candidate| candidate.slots.saturating_sub(candidate.running);
        let mut free: usize = of_pool().map(|(_, candidate)| usize::from(free_slots(&candidate))).sum();
        if free == 0 {
            return;
        }
        let (keys, mut candidates): (Vec<SlotKey>, Vec<Candidate>) =
            of_pool().map(|(slot, candidate)| (slot.key(), candidate)).unzip();
        let Self { tasks, fleet, epoch, .. } = self;
        while free > 0 {
            let is_placed = tasks.start_next(pool, |id, attempt| {
                let choice = choose(policy, id, &candidates)?;
                let list = Shortlist::new(&candidates, choice, id);
                let key = &keys[choice.index];
                let Given { worker, link, port } = fleet.give(key, (id, attempt), now)?;
                candidates[choice.index] =
                    fleet.slot(key).and_then(|slot| candidate(slot, now)).unwrap_or_else(|| {
                        let former = candidates[choice.index];
                        Candidate { running: former.slots, ..former }
                    });
                out.orders.push((link, Order::Run(id, attempt)));
                out.notes.push(Note::SentPayload(id, port));
                let (epoch, started_at) = (*epoch, now.at);
                let running = RunningAttempt { attempt, worker: worker.clone(), epoch, started_at };
                out.changes.push(Change::AttemptStarted { task: id, attempt, worker, epoch, at: started_at });
                let placed = Placed { attempt, pool: pool.clone(), policy: choice.policy, at: now.at, list };
                Some(Placing { running, placed })
            });
            if !is_placed {
                return;
            }
            free -= 1;
        }
    }

    /// Whether it is known who holds what, so that nothing is run again that still runs.
    fn has_settled(&mut self, now: Moment) -> bool {
        if let Some(settling) = self.settling {
            let awaited = |slot: &Slot| match &slot.stage {
                Stage::Up(worker) => matches!(worker.link, Link::Awaited { .. }),
                _ => false,
            };
            let may_end_early = self.fleet.is_observed() && settling.may_end_early;
            if now >= settling.until || (may_end_early && !self.fleet.slots().any(awaited)) {
                self.settling = None;
            }
        }
        self.settling.is_none()
    }
}

/// The worker of a slot that may get a task as soon as it has a free slot.
pub(super) fn candidate(slot: &Slot, now: Moment) -> Option<Candidate> {
    let is_full =
        |worker: &Worker| worker.leaving_since.is_none() && worker.running.len() >= worker.slots.into();
    let worker = slot.worker().filter(|_| slot.takes_tasks())?;
    if worker.free_slots() == 0 && !is_full(worker) {
        return None;
    }
    worker.open_link()?;
    // It may be as lost as the one whose task is given on.
    if matches!(worker.link, Link::Open { heard_at, .. } if heard_at + DOUBT <= now) {
        return None;
    }
    Some(Candidate {
        slot: slot.no,
        running: u16::try_from(worker.running.len()).unwrap_or(u16::MAX),
        slots: worker.slots,
        load: worker.load,
        last_given: worker.last_given,
    })
}
