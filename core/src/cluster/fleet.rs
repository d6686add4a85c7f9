//! What becomes of containers: made, found, hung, dead, buried.

use std::collections::BTreeSet;
use std::time::Duration;

use clb_protocol::api::{Obituary, Verdict, VerdictKind};
use clb_protocol::{AttemptNo, ContainerId, TaskId, WorkerId};

use crate::clock::Moment;
use crate::fleet::{Course, Held, Link, Remains, Slot, Stage, Standing, Worker, is_by_hand, judge};
use crate::input::{LinkNo, SeenWorker};
use crate::output::{Change, FleetAction, Note, Order, Output};
use crate::pool::Image;

use super::outcomes::timed_out;
use super::{Cluster, SlotKey, TIMEOUT_CHECK};

impl Cluster {
    /// Makes a container for every slot that may have one now.
    pub(super) fn fill_vacant_slots(&mut self, now: Moment, out: &mut Output) {
        if !self.observed || self.retired {
            return;
        }
        let is_due = |slot: &Slot| matches!(slot.stage, Stage::Vacant { not_before } if not_before <= now);
        if !self.slots.values().any(is_due) {
            return;
        }
        for slot in self.slots.values_mut().filter(|slot| is_due(slot) && slot.course == Course::Stay) {
            let Some(pool) = self.pools.get(&slot.pool).filter(|pool| pool.image == Image::Ready) else {
                continue;
            };
            let (version, reserved) = (pool.version(slot.no), &self.config.reserved_ports);
            slot.version = Some(version);
            (slot.port, slot.published) =
                (pool.inner_port(slot.no, reserved), pool.published_port(slot.no, reserved));
            if slot.standing == Standing::Restart {
                slot.standing = Standing::Serve;
                let (pool, slot) = (slot.pool.clone(), slot.no);
                out.changes.push(Change::SlotOrdered { pool, slot, standing: Standing::Serve });
            }
            slot.generation = slot.generation.next();
            slot.signalled = None;
            let reason = slot.reason.take();
            slot.enter(Stage::Starting { container: None }, reason, now);
            out.changes.push(Change::SlotFilled {
                pool: slot.pool.clone(),
                slot: slot.no,
                generation: slot.generation,
            });
            out.fleet.push(FleetAction::Create {
                worker: slot.worker_id(),
                version,
                spec: pool.spec.clone(),
                port: slot.port,
                published: slot.published,
            });
        }
    }

    pub(super) fn take_started(&mut self, worker: &WorkerId, id: ContainerId, now: Moment) {
        let Some(slot) = self.slot_of(worker) else { return };
        if matches!(slot.stage, Stage::Starting { .. }) {
            let reason = slot.reason.take();
            slot.enter(Stage::Starting { container: Some(id) }, reason, now);
        }
    }

    pub(super) fn take_failed(&mut self, worker: &WorkerId, reason: String, now: Moment, out: &mut Output) {
        let Some(slot) = self.slot_of(worker) else { return };
        if !matches!(slot.stage, Stage::Starting { .. }) {
            return;
        }
        let not_before = slot.backoff.after_failure(now);
        let wait_ms = not_before.since(now).as_millis();
        out.notes
            .push(Note::Fleet(format!("{worker} could not be started: {reason}; next try in {wait_ms} ms")));
        slot.enter(Stage::Vacant { not_before }, Some(reason), now);
        slot.forget_container();
        // It may have been removed from under its pool.
        if let Some(pool) = self.pools.get_mut(&worker.pool).filter(|pool| pool.spec.image.is_some())
            && pool.image == Image::Ready
        {
            pool.image = Image::Wanted { failures: 0 };
        }
    }

    pub(super) fn take_death(&mut self, worker: &WorkerId, now: Moment, out: &mut Output) {
        let key = (worker.pool.clone(), worker.slot);
        if !self.observed {
            self.early_deaths.insert(worker.clone());
        }
        let Some(slot) = self.slot_of(worker) else { return };
        match &slot.stage {
            Stage::Up(_) | Stage::Starting { container: Some(_) } => self.bury(&key, None, now, out),
            Stage::Starting { container: None } | Stage::Vacant { .. } | Stage::Burying { .. } => {}
        }
    }

    /// Gives a slot's container up: what it runs is lost, and it is looked at and removed.
    pub(super) fn bury(&mut self, key: &SlotKey, cause: Option<Verdict>, now: Moment, out: &mut Output) {
        self.lose_running(key, now, out);
        let Some(slot) = self.slots.get_mut(key) else { return };
        let container = slot.container().cloned();
        let worker = match std::mem::replace(&mut slot.stage, Stage::Vacant { not_before: now }) {
            Stage::Up(worker) => Some(worker),
            _ => None,
        };
        let is_planned = cause.as_ref().is_some_and(|verdict| verdict.kind == VerdictKind::Drained);
        if let Some(worker) = &worker {
            if let Some(link) = worker.open_link() {
                self.links.remove(&link);
                out.dropped.push(link);
            }
            let is_sudden = !matches!(worker.link, Link::Closed { .. } | Link::Stopped { .. });
            if is_sudden && worker.leaving_since.is_none() && (self.retired || !is_planned) {
                out.notes.push(Note::WorkerCrashed);
            }
        }
        let id = slot.worker_id();
        let reason = cause.as_ref().map(|verdict| verdict.detail.clone());
        if let Some(reason) = &reason {
            let gone = if is_planned { "is let go" } else { "is given up" };
            out.notes.push(Note::Fleet(format!("{id} {gone}: {reason}")));
        }
        slot.enter(Stage::Burying { worker, cause }, reason, now);
        out.fleet.push(FleetAction::Bury { worker: id, container });
    }

    pub(super) fn take_burial(
        &mut self,
        worker_id: &WorkerId,
        remains: &Remains,
        now: Moment,
        out: &mut Output,
    ) {
        let key = (worker_id.pool.clone(), worker_id.slot);
        let Some(slot) = self.slot_of(worker_id) else { return };
        let Stage::Burying { worker, cause } = &mut slot.stage else { return };
        let (worker, cause) = (worker.take(), cause.take());
        let peak = worker.as_ref().and_then(|worker| worker.memory_peak_bytes);
        // What was thought of it does not count when it had died of something else by then.
        let verdict =
            cause.filter(|_| !remains.was_dead).unwrap_or_else(|| judge(remains, slot.signalled, peak));
        let not_before = if verdict.kind == VerdictKind::Drained {
            now
        } else {
            out.notes.push(Note::Fleet(format!("{worker_id} died: {}", verdict.detail)));
            if is_by_hand(&verdict, slot.signalled) {
                now
            } else {
                slot.backoff.after_death(worker.as_ref().map(|worker| worker.ready_at), now)
            }
        };
        let obituary = write_obituary(slot, worker.as_deref(), remains, &verdict);
        out.changes.push(Change::Died(Box::new(obituary)));
        slot.enter(Stage::Vacant { not_before }, Some(verdict.detail.clone()), now);
        slot.forget_container();
        self.pronounce(&key, &verdict, now, out);
    }

    /// Gives back what runs, at no cost, and gives up every container.
    pub(super) fn retire(&mut self, now: Moment, out: &mut Output) {
        self.retired = true;
        let keys: Vec<SlotKey> = self.slots.keys().cloned().collect();
        for key in &keys {
            let verdict = Verdict::new(VerdictKind::Drained, "The last orchestrator was stopped");
            if let Some(worker) = self.slots.get_mut(key).and_then(Slot::worker_mut) {
                let running = std::mem::take(&mut worker.running);
                for (id, Held { attempt, .. }) in running {
                    if self.tasks.is_current(id, attempt) {
                        self.requeue(id, verdict.clone(), now, out);
                    }
                }
            }
            let slot = self.slots.get(key);
            if slot.is_some_and(|slot| matches!(slot.stage, Stage::Up(_) | Stage::Starting { .. })) {
                self.bury(key, Some(verdict), now, out);
            }
        }
    }

    /// Whether the cluster was taken down and no container is left.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired && self.slots.values().all(|slot| matches!(slot.stage, Stage::Vacant { .. }))
    }

    /// Holds Docker's list against what should be there; repairs whatever events missed.
    pub(super) fn reconcile(&mut self, seen: &[SeenWorker], asked_at: Moment, now: Moment, out: &mut Output) {
        let first = !std::mem::replace(&mut self.observed, true);
        if first {
            self.tell_faults(out);
        }
        let keys: Vec<SlotKey> = self.slots.keys().cloned().collect();
        let mut kept = BTreeSet::new();
        for key in &keys {
            let here: Vec<&SeenWorker> =
                seen.iter().filter(|s| s.worker.pool == key.0 && s.worker.slot == key.1).collect();
            kept.extend(self.reconcile_slot(key, &here, (first, asked_at), now, out));
        }
        for stray in seen.iter().filter(|seen| !kept.contains(&seen.container)) {
            out.notes.push(Note::Fleet(format!("{} is not needed and will be removed", stray.worker)));
            out.fleet.push(FleetAction::RemoveStray(stray.container.clone()));
        }
        if first {
            self.lose_unclaimed(now, out);
        }
    }

    /// Brings one slot in line with the containers that say they fill it; returns the one that does.
    fn reconcile_slot(
        &mut self,
        key: &SlotKey,
        here: &[&SeenWorker],
        (first, asked_at): (bool, Moment),
        now: Moment,
        out: &mut Output,
    ) -> Option<ContainerId> {
        let until = now + self.config.silence_limit;
        let slot = self.slots.get_mut(key)?;
        let is_vacant = matches!(slot.stage, Stage::Vacant { .. });
        if first && is_vacant {
            let found = here.iter().filter(|s| s.worker.generation >= slot.generation);
            let found = found.max_by_key(|seen| (seen.alive, seen.worker.generation))?;
            slot.generation = found.worker.generation;
            slot.recognize(found);
            let mut worker = Box::new(Worker::awaited(found.container.clone(), until, now));
            let unclaimed = self.unclaimed.remove(&found.worker).unwrap_or_default();
            let held = |(id, attempt)| (id, Held { attempt, since: now });
            worker.running = unclaimed.into_iter().map(held).collect();
            let container = found.container.clone();
            slot.enter(Stage::Up(worker), None, now);
            if found.alive && !self.early_deaths.contains(&found.worker) {
                let (worker, port) = (found.worker.clone(), slot.port);
                out.fleet.push(FleetAction::Probe { worker, container: container.clone(), port });
            } else {
                self.bury(key, None, now, out);
            }
            return Some(container);
        }
        let current = here.iter().find(|seen| seen.worker.generation == slot.generation);
        if let Some(seen) = current.filter(|_| matches!(slot.stage, Stage::Up(_)) && slot.version.is_none()) {
            slot.recognize(seen);
            self.unsettled.insert(key.0.clone());
        } else if let Some((seen, pool)) = current.zip(self.pools.get(&key.0)) {
            slot.learn_build(seen, self.builds.of(&pool.spec));
        }
        let is_dead = match &slot.stage {
            Stage::Vacant { .. } => return None,
            Stage::Up(_) => current.is_none_or(|seen| !seen.alive),
            // It may be between its making and its start, which looks like death.
            Stage::Starting { container } => container.is_some() && current.is_some_and(|seen| !seen.alive),
            Stage::Burying { .. } => false,
        };
        // A list from before the slot's last change shows what was, not what is.
        let is_news = slot.since < asked_at;
        if is_dead && is_news {
            self.bury(key, None, now, out);
        }
        current.map(|seen| seen.container.clone())
    }

    /// Does what is due by now.
    pub(super) fn expire(&mut self, now: Moment, out: &mut Output) {
        self.tasks.wake(now);
        let keys: Vec<SlotKey> = self.slots.keys().cloned().collect();
        for key in &keys {
            if let Some(cause) = self.overdue(key, now) {
                self.bury(key, Some(cause), now, out);
            }
            let limit = self.config.verdict_limit;
            if self.slots.get(key).is_some_and(|s| !s.unjudged.is_empty() && s.unjudged_since + limit <= now)
            {
                let verdict =
                    Verdict::new(VerdictKind::HostLost, "Nobody could tell in time how the worker died");
                self.pronounce(key, &verdict, now, out);
            }
        }
        if now >= self.checked_timeouts_at + TIMEOUT_CHECK {
            self.checked_timeouts_at = now;
            self.expire_attempts(now, out);
        }
    }

    /// Why a slot's container must go, if it must.
    fn overdue(&self, key: &SlotKey, now: Moment) -> Option<Verdict> {
        let slot = self.slots.get(key)?;
        let (due, kind, detail) = match &slot.stage {
            Stage::Starting { .. } => {
                (slot.since + self.config.start_limit, VerdictKind::Hung, "It did not join in time")
            }
            Stage::Up(worker) => {
                if let Some(since) = worker.leaving_since
                    && since + self.config.leave_limit <= now
                {
                    let detail = "It was stopped and did not end in time";
                    return Some(Verdict::new(VerdictKind::Stopped, detail));
                }
                let (kind, detail) = match worker.link {
                    Link::Awaited { .. } => (VerdictKind::Hung, "It did not join the new leader in time"),
                    Link::Open { .. } => {
                        (VerdictKind::Hung, "It said nothing for too long: paused, cut off or stuck")
                    }
                    Link::Closed { .. } => {
                        (VerdictKind::Hung, "Its connection closed and it did not come back")
                    }
                    Link::Stopped { .. } => (VerdictKind::Stopped, "It simulated a crash for too long"),
                };
                (self.link_deadline(worker.link), kind, detail)
            }
            Stage::Vacant { .. } | Stage::Burying { .. } => return None,
        };
        (due <= now).then(|| Verdict::new(kind, detail))
    }

    /// Ends attempts that outran their timeout and whose worker did not say so in time.
    fn expire_attempts(&mut self, now: Moment, out: &mut Output) {
        let mut late: Vec<(TaskId, AttemptNo, u64, Option<LinkNo>)> = Vec::new();
        for worker in self.slots.values().filter_map(Slot::worker) {
            for (id, Held { attempt, since }) in &worker.running {
                let Some(task) = self.tasks.get(*id) else { continue };
                if task.running().is_none_or(|running| running.attempt != *attempt) {
                    continue;
                }
                let (timeout, margin) = (Duration::from_millis(task.timeout_ms), self.config.timeout_grace);
                let due = worker.says_of_timeout_by(*since, timeout, margin);
                if due.is_some_and(|due| due <= now) {
                    late.push((*id, *attempt, task.timeout_ms, worker.open_link()));
                }
            }
        }
        for (id, attempt, timeout_ms, link) in late {
            if let Some(link) = link {
                out.orders.push((link, Order::Cancel(id, attempt)));
            }
            self.fail(id, &timed_out(timeout_ms), None, now, out);
        }
    }
}

fn write_obituary(slot: &Slot, worker: Option<&Worker>, remains: &Remains, verdict: &Verdict) -> Obituary {
    Obituary {
        worker: slot.worker_id().name(),
        pool: slot.pool.clone(),
        slot: slot.no,
        generation: slot.generation,
        container: worker.map(|worker| worker.container.clone()),
        died_at: slot.since.at,
        verdict: verdict.clone(),
        oom: remains.oom,
        memory_peak_bytes: worker.and_then(|worker| worker.memory_peak_bytes),
        memory_limit_bytes: remains.memory_limit_bytes,
        last_logs: remains.last_logs.clone(),
        last_usage: worker.map(|worker| worker.usage.iter().copied().collect()).unwrap_or_default(),
        tasks: slot.unjudged.iter().map(|(id, _)| *id).collect(),
    }
}
