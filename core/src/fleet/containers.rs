//! What the fleet learns from Docker: what is made, found, dead, removed.

use clb_protocol::api::{Obituary, Verdict, VerdictKind};
use clb_protocol::{ContainerId, PoolVersion, WorkerId};

use crate::build::Build;
use crate::clock::Moment;
use crate::input::{LinkNo, SeenWorker};

use super::{Fleet, Held, Link, Remains, Slot, SlotKey, Stage, Worker, is_by_hand, judge, key_of};

/// What the next container of a slot is made of, and where its worker listens.
pub(crate) struct Container {
    pub(crate) version: PoolVersion,
    pub(crate) port: u16,
    /// On the host.
    pub(crate) published: Option<u16>,
}

/// A container that was given up.
pub(crate) struct GivenUp {
    pub(crate) worker: WorkerId,
    pub(crate) container: Option<ContainerId>,
    /// The link that it had.
    pub(crate) link: Option<LinkNo>,
    /// Whether nothing had told of it: it had joined, was not leaving and was not without a link.
    pub(crate) is_sudden: bool,
}

impl Fleet {
    /// Whether an empty slot waits for a container whose time has come.
    pub(crate) fn any_is_due(&self, now: Moment) -> bool {
        self.slots.values().any(|slot| slot.is_due(now))
    }

    /// A container is about to be made for a slot: the worker that it will be.
    pub(crate) fn fill(&mut self, key: &SlotKey, container: &Container, now: Moment) -> Option<WorkerId> {
        let slot = self.slots.get_mut(key)?;
        slot.version = Some(container.version);
        (slot.port, slot.published) = (container.port, container.published);
        slot.generation = slot.generation.next();
        slot.signalled = None;
        let reason = slot.reason.take();
        slot.enter(Stage::Starting { container: None }, reason, now);
        Some(slot.worker_id())
    }

    /// A container was made.
    pub(crate) fn start(&mut self, worker: &WorkerId, id: ContainerId, now: Moment) {
        let Some(slot) = self.slot_of_mut(worker) else { return };
        if matches!(slot.stage, Stage::Starting { .. }) {
            let reason = slot.reason.take();
            slot.enter(Stage::Starting { container: Some(id) }, reason, now);
        }
    }

    /// A container could not be made: when it is tried again; `None` when none was to be.
    pub(crate) fn fail_start(&mut self, worker: &WorkerId, reason: String, now: Moment) -> Option<Moment> {
        let slot = self.slot_of_mut(worker)?;
        if !matches!(slot.stage, Stage::Starting { .. }) {
            return None;
        }
        let not_before = slot.backoff.after_failure(now);
        slot.enter(Stage::Vacant { not_before }, Some(reason), now);
        slot.forget_container();
        Some(not_before)
    }

    /// Somebody sent a signal to a container through Docker.
    pub(crate) fn signal(&mut self, worker: &WorkerId, signal: i64) {
        if let Some(slot) = self.slot_of_mut(worker) {
            slot.signalled = Some(signal);
        }
    }

    /// A container's process ended, which Docker's first list may not know yet.
    pub(crate) fn note_death(&mut self, worker: &WorkerId) {
        if !self.is_observed {
            self.early_deaths.insert(worker.clone());
        }
    }

    /// Docker's list is there; `true` for the first one of a term.
    pub(crate) fn observe(&mut self) -> bool {
        !std::mem::replace(&mut self.is_observed, true)
    }

    /// A container of another leader fills an empty slot and may join until then; `false` when it is dead.
    pub(crate) fn adopt(&mut self, found: &SeenWorker, until: Moment, now: Moment) -> bool {
        let unclaimed = self.take_claimed(&found.worker);
        let Some(slot) = self.slots.get_mut(&key_of(&found.worker)) else { return false };
        slot.generation = found.worker.generation;
        slot.recognize(found);
        let mut worker = Box::new(Worker::awaited(found.container.clone(), until, now));
        let held = |(id, attempt)| (id, Held { attempt, since: now });
        worker.running = unclaimed.into_iter().map(held).collect();
        slot.enter(Stage::Up(worker), None, now);
        found.alive && !self.early_deaths.contains(&found.worker)
    }

    /// Takes in how the container of a worker is made that joined before Docker's list came; `false` when that is
    /// known already.
    pub(crate) fn recognize(&mut self, seen: &SeenWorker) -> bool {
        let Some(slot) = self.slot_of_mut(&seen.worker) else { return false };
        let is_unknown = matches!(slot.stage, Stage::Up(_)) && slot.version.is_none();
        if is_unknown {
            slot.recognize(seen);
        }
        is_unknown
    }

    /// Takes in what a container is made of that this leader had made, where that is made `now`.
    pub(crate) fn learn_build(&mut self, seen: &SeenWorker, now: Option<&Build>) {
        if let Some(slot) = self.slot_of_mut(&seen.worker) {
            slot.learn_build(seen, now);
        }
    }

    /// A slot's container is to be looked at and removed.
    pub(crate) fn give_up(&mut self, key: &SlotKey, cause: Option<Verdict>, now: Moment) -> Option<GivenUp> {
        let slot = self.slots.get_mut(key)?;
        let container = slot.container().cloned();
        let worker = match std::mem::replace(&mut slot.stage, Stage::Vacant { not_before: now }) {
            Stage::Up(worker) => Some(worker),
            _ => None,
        };
        let link = worker.as_ref().and_then(|worker| worker.open_link());
        let is_sudden = worker.as_ref().is_some_and(|worker| {
            let is_without_link = matches!(worker.link, Link::Closed { .. } | Link::Stopped { .. });
            !is_without_link && worker.leaving_since.is_none()
        });
        if let Some(link) = link {
            self.links.remove(&link);
        }
        let reason = cause.as_ref().map(|verdict| verdict.detail.clone());
        slot.enter(Stage::Burying { worker, cause }, reason, now);
        Some(GivenUp { worker: slot.worker_id(), container, link, is_sudden })
    }

    /// A dead container was looked at and removed: how it died. `None` when that was not asked for.
    pub(crate) fn bury(&mut self, id: &WorkerId, remains: &Remains, now: Moment) -> Option<Obituary> {
        let slot = self.slot_of_mut(id)?;
        let Stage::Burying { worker, cause } = &mut slot.stage else { return None };
        let (worker, cause) = (worker.take(), cause.take());
        let peak = worker.as_ref().and_then(|worker| worker.memory_peak_bytes);
        // What was thought of it does not count when it had died of something else by then.
        let verdict =
            cause.filter(|_| !remains.was_dead).unwrap_or_else(|| judge(remains, slot.signalled, peak));
        let is_innocent = verdict.kind == VerdictKind::Drained || is_by_hand(&verdict, slot.signalled);
        let not_before = if is_innocent {
            now
        } else {
            slot.backoff.after_death(worker.as_ref().map(|worker| worker.ready_at), now)
        };
        let reason = Some(verdict.detail.clone());
        let obituary = write_obituary(slot, worker.as_deref(), remains, verdict);
        slot.enter(Stage::Vacant { not_before }, reason, now);
        slot.forget_container();
        Some(obituary)
    }
}

fn write_obituary(slot: &Slot, worker: Option<&Worker>, remains: &Remains, verdict: Verdict) -> Obituary {
    Obituary {
        worker: slot.worker_id().name(),
        pool: slot.pool.clone(),
        slot: slot.no,
        generation: slot.generation,
        container: worker.map(|worker| worker.container.clone()),
        died_at: slot.since.at,
        verdict,
        oom: remains.oom,
        memory_peak_bytes: worker.and_then(|worker| worker.memory_peak_bytes),
        memory_limit_bytes: remains.memory_limit_bytes,
        last_logs: remains.last_logs.clone(),
        last_usage: worker.map(|worker| worker.usage.iter().copied().collect()).unwrap_or_default(),
        tasks: slot.unjudged.iter().map(|(id, _)| *id).collect(),
    }
}
