//! What happens by itself once its time has come, and when that is.

use std::time::Duration;

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::{AttemptNo, TaskId};

use crate::clock::Moment;
use crate::fleet::{Course, Held, Link, Slot, SlotKey, Stage};
use crate::input::LinkNo;
use crate::output::{Order, Output};
use crate::pool::{Image, Pool};

use super::Cluster;
use super::outcomes::timed_out;

/// How often running tasks are held against their timeouts.
const TIMEOUT_CHECK: Duration = Duration::from_secs(1);

impl Cluster {
    /// When [`TimePassed`](crate::Input::TimePassed) is due; `None` when nothing will happen by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let slots = self.fleet.slots().flat_map(|slot| {
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
        let images = self.pools.all().filter_map(|pool| match pool.image {
            Image::Failed { retry_at, .. } if !self.retired && pool.wanted() > 0 => Some(retry_at),
            _ => None,
        });
        slots.chain(timeouts).chain(settled).chain(rested).chain(images).min()
    }

    /// Whether an empty slot may have a container, once its time has come.
    fn may_fill(&self, slot: &Slot) -> bool {
        let has_image = || self.pools.get(&slot.pool).is_some_and(Pool::has_image);
        self.fleet.is_observed() && !self.retired && slot.course == Course::Stay && has_image()
    }

    fn link_deadline(&self, link: Link) -> Moment {
        match link {
            Link::Awaited { until } => until,
            Link::Open { heard_at, .. } => heard_at + self.config.silence_limit,
            Link::Closed { since } => since + self.config.silence_limit,
            Link::Stopped { since } => since + self.config.soft_stop_grace,
        }
    }

    /// Does what is due by now.
    pub(super) fn expire(&mut self, now: Moment, out: &mut Output) {
        self.tasks.wake(now);
        for key in &self.fleet.keys() {
            if let Some(cause) = self.overdue(key, now) {
                self.bury(key, Some(cause), now, out);
            }
            let limit = self.config.verdict_limit;
            if self.fleet.slot(key).is_some_and(|s| !s.unjudged.is_empty() && s.unjudged_since + limit <= now)
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
        let slot = self.fleet.slot(key)?;
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
        for worker in self.fleet.slots().filter_map(Slot::worker) {
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
