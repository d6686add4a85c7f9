//! What becomes of containers: made, found, dead, buried.

use std::collections::BTreeSet;

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::{ContainerId, WorkerId};

use crate::clock::Moment;
use crate::fleet::{Container, Course, Held, Remains, Slot, SlotKey, Stage, Standing, key_of};
use crate::input::SeenWorker;
use crate::output::{Change, FleetAction, Note, Output};

use super::Cluster;

impl Cluster {
    /// Makes a container for every slot that may have one now.
    pub(super) fn fill_vacant_slots(&mut self, now: Moment, out: &mut Output) {
        if !self.fleet.is_observed() || self.retired || !self.fleet.any_is_due(now) {
            return;
        }
        let due = self.fleet.slots().filter(|slot| slot.is_due(now) && slot.course == Course::Stay);
        for key in due.map(Slot::key).collect::<Vec<_>>() {
            self.fill(&key, now, out);
        }
    }

    fn fill(&mut self, key: &SlotKey, now: Moment, out: &mut Output) {
        let Some(pool) = self.pools.get(&key.0).filter(|pool| pool.has_image()) else { return };
        let reserved = &self.config.reserved_ports;
        let container = Container {
            version: pool.version(key.1),
            port: pool.inner_port(key.1, reserved),
            published: pool.published_port(key.1, reserved),
        };
        if self.fleet.slot(key).is_some_and(|slot| slot.standing == Standing::Restart) {
            self.fleet.order(key, Standing::Serve);
            let (pool, slot) = key.clone();
            out.changes.push(Change::SlotOrdered { pool, slot, standing: Standing::Serve });
        }
        let Some(worker) = self.fleet.fill(key, &container, now) else { return };
        let Container { version, port, published } = container;
        out.changes.push(Change::SlotFilled {
            pool: worker.pool.clone(),
            slot: worker.slot,
            generation: worker.generation,
        });
        out.fleet.push(FleetAction::Create { worker, version, spec: pool.spec.clone(), port, published });
    }

    pub(super) fn take_failed(&mut self, worker: &WorkerId, reason: &str, now: Moment, out: &mut Output) {
        let Some(not_before) = self.fleet.fail_start(worker, reason.to_owned(), now) else { return };
        let wait_ms = not_before.since(now).as_millis();
        out.notes
            .push(Note::Fleet(format!("{worker} could not be started: {reason}; next try in {wait_ms} ms")));
        self.pools.doubt_image(&worker.pool);
    }

    pub(super) fn take_death(&mut self, worker: &WorkerId, now: Moment, out: &mut Output) {
        self.fleet.note_death(worker);
        let Some(slot) = self.fleet.slot_of(worker) else { return };
        match &slot.stage {
            Stage::Up(_) | Stage::Starting { container: Some(_) } => {
                self.bury(&key_of(worker), None, now, out);
            }
            Stage::Starting { container: None } | Stage::Vacant { .. } | Stage::Burying { .. } => {}
        }
    }

    /// Gives a slot's container up: what it runs is lost, and it is looked at and removed.
    pub(super) fn bury(&mut self, key: &SlotKey, cause: Option<Verdict>, now: Moment, out: &mut Output) {
        self.lose_running(key, now, out);
        let reason = cause.as_ref().map(|verdict| verdict.detail.clone());
        let is_planned = cause.as_ref().is_some_and(|verdict| verdict.kind == VerdictKind::Drained);
        let Some(given_up) = self.fleet.give_up(key, cause, now) else { return };
        out.dropped.extend(given_up.link);
        if given_up.is_sudden && (self.retired || !is_planned) {
            out.notes.push(Note::WorkerCrashed);
        }
        let (worker, container) = (given_up.worker, given_up.container);
        if let Some(reason) = reason {
            let gone = if is_planned { "is let go" } else { "is given up" };
            out.notes.push(Note::Fleet(format!("{worker} {gone}: {reason}")));
        }
        out.fleet.push(FleetAction::Bury { worker, container });
    }

    pub(super) fn take_burial(
        &mut self,
        worker: &WorkerId,
        remains: &Remains,
        now: Moment,
        out: &mut Output,
    ) {
        let Some(obituary) = self.fleet.bury(worker, remains, now) else { return };
        let verdict = obituary.verdict.clone();
        if verdict.kind != VerdictKind::Drained {
            out.notes.push(Note::Fleet(format!("{worker} died: {}", verdict.detail)));
        }
        out.changes.push(Change::Died(Box::new(obituary)));
        self.pronounce(&key_of(worker), &verdict, now, out);
    }

    /// Gives back what runs, at no cost, and gives up every container.
    pub(super) fn retire(&mut self, now: Moment, out: &mut Output) {
        self.retired = true;
        for key in &self.fleet.keys() {
            let verdict = Verdict::new(VerdictKind::Drained, "The last orchestrator was stopped");
            for (id, Held { attempt, .. }) in self.fleet.take_running(key) {
                if self.tasks.is_current(id, attempt) {
                    self.requeue(id, verdict.clone(), now, out);
                }
            }
            let slot = self.fleet.slot(key);
            if slot.is_some_and(|slot| matches!(slot.stage, Stage::Up(_) | Stage::Starting { .. })) {
                self.bury(key, Some(verdict), now, out);
            }
        }
    }

    /// Whether the cluster was taken down and no container is left.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired && self.fleet.slots().all(|slot| matches!(slot.stage, Stage::Vacant { .. }))
    }

    /// Holds Docker's list against what should be there; repairs whatever events missed.
    pub(super) fn reconcile(&mut self, seen: &[SeenWorker], asked_at: Moment, now: Moment, out: &mut Output) {
        let first = self.fleet.observe();
        if first {
            self.tell_faults(out);
        }
        let mut kept = BTreeSet::new();
        for key in &self.fleet.keys() {
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
        let slot = self.fleet.slot(key)?;
        if first && matches!(slot.stage, Stage::Vacant { .. }) {
            let found = here.iter().filter(|s| s.worker.generation >= slot.generation);
            let found = found.max_by_key(|seen| (seen.alive, seen.worker.generation))?;
            self.take_over(key, found, now, out);
            return Some(found.container.clone());
        }
        let current = here.iter().find(|seen| seen.worker.generation == slot.generation);
        let is_dead = match &slot.stage {
            Stage::Up(_) => current.is_none_or(|seen| !seen.alive),
            // It may be between its making and its start, which looks like death.
            Stage::Starting { container } => container.is_some() && current.is_some_and(|seen| !seen.alive),
            Stage::Vacant { .. } | Stage::Burying { .. } => false,
        };
        let is_vacant = matches!(slot.stage, Stage::Vacant { .. });
        // A list from before the slot's last change shows what was, not what is.
        let is_news = slot.since < asked_at;
        if let Some(seen) = current {
            self.look_at(seen);
        }
        if is_dead && is_news {
            self.bury(key, None, now, out);
        }
        current.filter(|_| !is_vacant).map(|seen| seen.container.clone())
    }

    /// Takes over a container that another leader had made.
    fn take_over(&mut self, key: &SlotKey, found: &SeenWorker, now: Moment, out: &mut Output) {
        if self.fleet.adopt(found, now + self.config.silence_limit, now) {
            let (worker, container) = (found.worker.clone(), found.container.clone());
            let port = self.fleet.slot(key).map_or(0, |slot| slot.port);
            out.fleet.push(FleetAction::Probe { worker, container, port });
        } else {
            self.bury(key, None, now, out);
        }
    }

    /// Takes in what the container in a slot is made of.
    fn look_at(&mut self, seen: &SeenWorker) {
        if self.fleet.recognize(seen) {
            self.pools.unsettle(&seen.worker.pool);
        } else {
            self.fleet.learn_build(seen, self.pools.build_of(&seen.worker.pool));
        }
    }
}
