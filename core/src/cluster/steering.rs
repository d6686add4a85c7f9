//! How a pool gets from the workers that it has to those that it should have.
//!
//! Nothing of a plan is kept: each step looks at what is there, so that the next leader goes on with
//! what it finds.
//!
//! A changed spec, or an upgrade: a worker of the new kind comes first, in the slot after the last. Once it
//! serves, the old ones are drained and replaced one after the other, and it goes last. A serving worker is
//! taken away only when enough others serve, and one whose next port another one has waits for that one.

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::{PoolName, SlotNo};

use crate::clock::Moment;
use crate::fleet::{Course, Link, Slot, SlotKey, Stage, Standing};
use crate::output::{Change, Output};
use crate::pool::Pool;

use super::Cluster;

impl Cluster {
    /// Moves every pool on that is not as it should be.
    pub(super) fn steer(&mut self, now: Moment, out: &mut Output) {
        if !self.fleet.is_observed() || self.retired {
            return;
        }
        for name in self.pools.take_unsettled() {
            if !self.steer_pool(&name, now, out) {
                self.pools.unsettle(&name);
            }
        }
    }

    /// Says whether the pool is as it should be.
    fn steer_pool(&mut self, name: &PoolName, now: Moment, out: &mut Output) -> bool {
        let Some(wanted) = self.pools.get(name).map(Pool::wanted) else { return true };
        for no in 1..=wanted {
            self.make_slot(&(name.clone(), SlotNo(no)), now);
        }
        if self.must_surge(name) {
            self.make_slot(&(name.clone(), SlotNo(wanted + 1)), now);
        }
        self.set_courses(name);
        let keys: Vec<SlotKey> = self.fleet.slots_of(name).map(Slot::key).collect();
        for key in &keys {
            self.pursue(key, now, out);
        }
        let is_settled = self.fleet.slots_of(name).count() == usize::from(wanted)
            && keys.iter().filter_map(|key| self.fleet.slot(key)).all(|slot| {
                slot.course == Course::Stay
                    && slot.standing != Standing::Restart
                    && !self.pools.is_outdated(slot)
            });
        let is_gone = self.pools.get(name).is_some_and(|pool| pool.is_removing)
            && self.fleet.slots_of(name).next().is_none();
        if is_gone {
            self.pools.remove(name);
        }
        is_settled
    }

    /// Whether another worker of the pool still has the port that the next one in a slot is to be published on.
    fn is_port_held(&self, slot: &Slot) -> bool {
        let reserved = &self.config.reserved_ports;
        let Some(port) = self.pools.get(&slot.pool).and_then(|pool| pool.published_port(slot.no, reserved))
        else {
            return false;
        };
        let holds =
            |other: &Slot| other.published == Some(port) && !matches!(other.stage, Stage::Vacant { .. });
        self.fleet.slots_of(&slot.pool).any(|other| other.no != slot.no && holds(other))
    }

    /// Whether a worker beyond the wanted ones is needed: an old one still serves.
    fn must_surge(&self, name: &PoolName) -> bool {
        let Some(wanted) = self.pools.get(name).map(Pool::wanted) else { return false };
        let mut slots = self.fleet.slots_of(name).filter(|slot| slot.no.0 <= wanted);
        slots.any(|slot| self.pools.is_outdated(slot) && matches!(slot.stage, Stage::Up(_)))
    }

    /// Decides which workers go now.
    fn set_courses(&mut self, name: &PoolName) {
        let Some(pool) = self.pools.get(name) else { return };
        let (wanted, image_is_ready) = (pool.wanted(), pool.has_image());
        let must_surge = self.must_surge(name);
        // What each slot is to come to, were it not for those that serve.
        let goal = |slot: &Slot| {
            let is_extra = slot.no.0 > wanted;
            let is_surge = must_surge && slot.no.0 == wanted + 1;
            match (is_extra && !is_surge, self.pools.is_outdated(slot)) {
                (true, _) => Course::Retire,
                (false, true) => Course::Replace,
                (false, false) => Course::Stay,
            }
        };
        let mut courses: Vec<(SlotNo, Course, Course)> =
            self.fleet.slots_of(name).map(|slot| (slot.no, goal(slot), slot.course)).collect();
        // One that is on its way already stays on it while that is where it is to go.
        for (_, goal, course) in &mut courses {
            if course != goal {
                *course = Course::Stay;
            }
        }
        let stays = |courses: &[(SlotNo, Course, Course)], no: SlotNo| {
            courses.iter().any(|(other, _, course)| *other == no && *course == Course::Stay)
        };
        let would_serve = |slot: &&Slot| {
            slot.standing == Standing::Serve
                && slot.worker().is_some_and(|w| w.open_link().is_some() && w.leaving_since.is_none())
        };
        let mut serving =
            self.fleet.slots_of(name).filter(would_serve).filter(|s| stays(&courses, s.no)).count();
        let off_duty = |slot: &&Slot| {
            let is_blocked = matches!(slot.stage, Stage::Vacant { .. }) && self.is_port_held(slot);
            slot.no.0 <= wanted && (slot.standing != Standing::Serve || is_blocked)
        };
        let needed = usize::from(wanted).saturating_sub(self.fleet.slots_of(name).filter(off_duty).count());
        let has_proof =
            self.fleet.slots_of(name).any(|slot| would_serve(&slot) && !self.pools.is_outdated(slot));
        let is_busy = courses.iter().any(|(no, _, course)| no.0 <= wanted && *course == Course::Replace);
        let mut may_replace = !is_busy && has_proof;
        let slots: Vec<&Slot> = self.fleet.slots_of(name).collect();
        // The highest go first, and of those within the pool's size the lowest.
        let (inner, outer): (Vec<&Slot>, Vec<&Slot>) = slots.into_iter().partition(|s| s.no.0 <= wanted);
        for slot in outer.into_iter().rev().chain(inner) {
            let Some((_, goal, course)) = courses.iter_mut().find(|(no, ..)| *no == slot.no) else {
                continue;
            };
            if *goal == Course::Stay || *course == *goal {
                continue;
            }
            let is_inner = slot.no.0 <= wanted;
            if is_inner && self.is_port_held(slot) {
                continue;
            }
            if !would_serve(&slot) {
                let may_go = !is_inner || image_is_ready && !is_coming_back(slot);
                if may_go {
                    *course = *goal;
                }
            } else if serving > needed && (!is_inner || may_replace) {
                *course = *goal;
                serving -= 1;
                may_replace &= !is_inner;
            }
        }
        for (no, _, course) in courses {
            self.fleet.set_course(&(name.clone(), no), course);
        }
    }

    /// Does what a slot's course and its orders allow now.
    fn pursue(&mut self, key: &SlotKey, now: Moment, out: &mut Output) {
        let Some(slot) = self.fleet.slot(key) else { return };
        let (course, standing) = (slot.course, slot.standing);
        if course == Course::Stay && standing != Standing::Restart {
            return;
        }
        match &slot.stage {
            Stage::Vacant { .. } if course == Course::Retire => self.give_up(key, now, out),
            Stage::Vacant { .. } => {
                self.fleet.set_course(key, Course::Stay);
                if standing == Standing::Restart {
                    self.fleet.hurry(key, now);
                }
            }
            Stage::Burying { .. } => {}
            Stage::Up(worker) => {
                let says_what_it_runs = matches!(worker.link, Link::Open { .. } | Link::Stopped { .. });
                if worker.running.is_empty() && says_what_it_runs {
                    self.bury(key, Some(farewell(course)), now, out);
                }
            }
            Stage::Starting { .. } => self.bury(key, Some(farewell(course)), now, out),
        }
    }

    /// Takes an empty slot out of its pool.
    fn give_up(&mut self, key: &SlotKey, now: Moment, out: &mut Output) {
        let lost = Verdict::new(VerdictKind::HostLost, "Its slot is gone and nobody can tell how it died");
        self.pronounce(key, &lost, now, out);
        if self.fleet.remove_slot(key).is_some_and(|standing| standing != Standing::Serve) {
            let (pool, slot) = key.clone();
            out.changes.push(Change::SlotOrdered { pool, slot, standing: Standing::Serve });
        }
    }
}

/// Whether its worker may serve again by itself in a moment.
fn is_coming_back(slot: &Slot) -> bool {
    let is_away = |link: &Link| matches!(link, Link::Awaited { .. } | Link::Closed { .. });
    slot.standing == Standing::Serve && slot.worker().is_some_and(|worker| is_away(&worker.link))
}

fn farewell(course: Course) -> Verdict {
    let detail = match course {
        Course::Stay => "It was to be restarted and has finished what it had",
        Course::Replace => "It was replaced by a worker of the new version, after finishing its tasks",
        Course::Retire => "Its pool was made smaller; it finished its tasks first",
    };
    Verdict::new(VerdictKind::Drained, detail)
}
