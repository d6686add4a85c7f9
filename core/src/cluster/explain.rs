//! Why a task waits, or why it runs where it runs. Nothing is decided here: it reads what the decisions
//! were made of.

use std::time::Duration;

use clb_protocol::api::{
    CandidateView, Explanation, PlacementView, PoolState, TaskState, WaitReason, Waiting, WorkerState,
};
use clb_protocol::{PoolName, TaskId, Timestamp, ids};

use crate::clock::Moment;
use crate::fleet::{Slot, Stage, key_of};
use crate::placement::{Candidate, Placed, Policy, Seen, choose, rank};
use crate::pool::{Image, Pool};
use crate::task::{Phase, RunningAttempt, Task};

use super::dispatch::candidate;
use super::views::state;
use super::{Cluster, DOUBT};

/// Why a task that is due is not given to a worker.
struct Obstacle {
    reason: WaitReason,
    /// What it waits for, after the word "Waits".
    wait: String,
    /// What would end it, a sentence.
    remedy: &'static str,
    until: Option<Timestamp>,
}

impl Cluster {
    /// Why an open task stands where it stands; `None` for one that is not known to be on disk, or that
    /// has ended.
    #[must_use]
    pub fn explain(&self, id: TaskId, now: Moment) -> Option<Explanation> {
        let task = self.tasks.get(id)?;
        let placed = self.tasks.placed(id).filter(|placed| placed.attempt == task.last_attempt);
        let placement = placed.map(placement_view);
        let (waiting, summary) = match task.phase() {
            Phase::Accepted { .. } => return None,
            Phase::Running(running) => {
                return Some(Explanation {
                    id,
                    state: TaskState::Running,
                    summary: runs(running, self.ran_for(id, running, now), placed),
                    waiting: None,
                    placement,
                    candidates: placed.map(candidates_then).unwrap_or_default(),
                });
            }
            Phase::Deferred { until } => put_off(*until),
            Phase::Resting { until } => rests(task, **until, now),
            Phase::Undecided(lost) => undecided(lost),
            Phase::Queued => self.queued(id, task, now),
        };
        Some(Explanation {
            id,
            state: TaskState::Queued,
            summary,
            waiting: Some(waiting),
            placement,
            candidates: self.candidates_now(&task.pool, id, now),
        })
    }

    /// Where the newest attempt of a task was placed and from which candidates, while that is remembered.
    #[must_use]
    pub fn placement(&self, id: TaskId) -> Option<(PlacementView, Vec<CandidateView>)> {
        let placed = self.tasks.placed(id)?;
        Some((placement_view(placed), candidates_then(placed)))
    }

    fn queued(&self, id: TaskId, task: &Task, now: Moment) -> (Waiting, String) {
        let ahead = self.tasks.ahead(id, task) as u64;
        let obstacle = self
            .obstacle_of_pool(&task.pool, now)
            .or_else(|| self.obstacle_of_all(now))
            .unwrap_or_else(|| self.obstacle_of_workers(&task.pool, ahead, now));
        let Obstacle { reason, wait, remedy, until } = obstacle;
        let others = match ahead {
            0 => String::new(),
            1 => "; 1 task goes first".to_owned(),
            _ => format!("; {ahead} tasks go first"),
        };
        let summary = format!("Waits {wait}{others}.");
        (Waiting { reason, detail: format!("It waits {wait}. {remedy}"), until, ahead }, summary)
    }

    /// What the state of a pool itself holds up: this is the place for every such reason.
    fn obstacle_of_pool(&self, name: &PoolName, now: Moment) -> Option<Obstacle> {
        let Some(pool) = self.pools.get(name).filter(|pool| !pool.is_removing) else {
            return Some(Obstacle {
                reason: WaitReason::NoSuchPool,
                wait: format!("for the pool {name}, which no longer exists"),
                remedy: "Make a pool of this name again, or cancel the task.",
                until: None,
            });
        };
        if pool.is_paused {
            return Some(Obstacle {
                reason: WaitReason::PoolPaused,
                wait: format!("for the pool {name} to be resumed: it is paused"),
                remedy: "Resume the pool.",
                until: None,
            });
        }
        let has_worker = self.fleet.slots_of(name).any(|slot| candidate(slot, now).is_some());
        if pool.fault.is_none() && (pool.state != PoolState::Failed || has_worker) {
            return None;
        }
        let because = pool
            .fault
            .as_ref()
            .or(pool.reason.as_ref())
            .map_or(String::new(), |reason| format!(": {reason}"));
        let until = match pool.image {
            Image::Failed { retry_at, .. } => Some(now.foretell(retry_at)),
            _ => self.next_try(name, now),
        };
        Some(Obstacle {
            reason: WaitReason::PoolFailed,
            wait: format!("for the pool {name}, which cannot get workers{because}"),
            remedy: match pool.fault {
                Some(_) => "A changed pool is tried at once.",
                None => "CLB tries again on its own; changing the pool makes it try at once.",
            },
            until,
        })
    }

    fn obstacle_of_all(&self, now: Moment) -> Option<Obstacle> {
        if !self.store_available {
            return Some(Obstacle {
                reason: WaitReason::StoreUnavailable,
                wait: "for the store, which takes no changes at the moment".to_owned(),
                remedy: "Nothing is started that could not be recorded; it goes on by itself once the store's \
                         volume can be written.",
                until: None,
            });
        }
        if self.retired {
            return Some(Obstacle {
                reason: WaitReason::NoWorker,
                wait: "for the cluster to be started again: it is being taken down".to_owned(),
                remedy: "The task is kept and continues then.",
                until: None,
            });
        }
        let settling = self.settling?;
        Some(Obstacle {
            reason: WaitReason::Settling,
            wait: "for the new leader, which is still asking the workers what they are running".to_owned(),
            remedy: "That takes a second at most.",
            until: Some(now.foretell(settling.until)),
        })
    }

    fn obstacle_of_workers(&self, pool: &PoolName, ahead: u64, now: Moment) -> Obstacle {
        let slots = || self.fleet.slots_of(pool);
        let ready: Vec<Candidate> = slots().filter_map(|slot| candidate(slot, now)).collect();
        if ready.is_empty() {
            let doing: Vec<String> =
                slots().map(|slot| format!("{} {}", slot.worker_id().name(), what_keeps(slot))).collect();
            let image = self.pools.get(pool).and_then(Pool::image_under_way);
            let doing = match image {
                Some(image) => image,
                None if doing.is_empty() => "it has none".to_owned(),
                None => doing.join(", "),
            };
            return Obstacle {
                reason: WaitReason::NoWorker,
                wait: format!("for a worker of pool {pool} that takes tasks: {doing}"),
                remedy: "Workers that died are replaced by themselves.",
                until: self.next_try(pool, now),
            };
        }
        if ready.iter().any(|candidate| candidate.running < candidate.slots) {
            return Obstacle {
                reason: if ahead == 0 { WaitReason::NoFreeSlot } else { WaitReason::BehindOthers },
                wait: format!("for its turn in pool {pool}"),
                remedy: "It goes to a worker as soon as the tasks ahead of it have.",
                until: None,
            };
        }
        Obstacle {
            reason: WaitReason::NoFreeSlot,
            wait: format!("for a free slot: {}", all_full(pool, &ready, slots().count())),
            remedy: "It starts when one of their tasks ends and no other goes first; more workers or slots \
                     would start it sooner.",
            until: None,
        }
    }

    /// When the next worker is made that backs off now.
    fn next_try(&self, pool: &PoolName, now: Moment) -> Option<Timestamp> {
        let tries = self.fleet.slots_of(pool).filter_map(|slot| match slot.stage {
            Stage::Vacant { not_before } if not_before > now => Some(not_before),
            _ => None,
        });
        tries.min().map(|next| now.foretell(next))
    }

    /// How long an attempt has run, as far as this leader could measure it.
    fn ran_for(&self, id: TaskId, running: &RunningAttempt, now: Moment) -> Duration {
        let slot = self.fleet.slot(&key_of(&running.worker));
        let held = slot.and_then(Slot::worker).and_then(|worker| worker.running.get(&id));
        let held = held.filter(|held| held.attempt == running.attempt);
        held.map_or_else(|| now.at.since(running.started_at), |held| now.since(held.since))
    }

    fn candidates_now(&self, pool: &PoolName, id: TaskId, now: Moment) -> Vec<CandidateView> {
        let slots: Vec<&Slot> = self.fleet.slots_of(pool).collect();
        let may_get: Vec<Option<Candidate>> = slots.iter().map(|slot| candidate(slot, now)).collect();
        let ready: Vec<Candidate> = may_get.iter().flatten().copied().collect();
        let policy = self.pools.get(pool).map(|pool| pool.spec.placement).unwrap_or_default();
        let best = choose(policy, id, &ready).map(|choice| ready[choice.index].slot);
        let view = |(slot, candidate): (&&Slot, &Option<Candidate>)| match candidate {
            Some(candidate) => {
                let seen = Seen {
                    rank: rank(policy, id, candidate),
                    slot: candidate.slot,
                    running: candidate.running,
                    slots: candidate.slots,
                };
                let reason =
                    if best == Some(slot.no) { "it would get the task" } else { "it is ranked behind" };
                seen_view(pool, seen, reason)
            }
            None => CandidateView {
                worker: slot.worker_id().name(),
                state: state(slot),
                free_slots: 0,
                slots: slot.worker().map_or(0, |worker| worker.slots),
                score: None,
                is_eligible: false,
                reason: what_keeps(slot),
            },
        };
        slots.iter().zip(&may_get).map(view).collect()
    }
}

/// Why a worker gets no task at all at this moment.
fn what_keeps(slot: &Slot) -> String {
    let kept = match state(slot) {
        WorkerState::Starting => "is starting",
        WorkerState::Stopped => "simulates a crash",
        WorkerState::Draining => "takes no more tasks",
        WorkerState::Lost => "is lost and being replaced",
        WorkerState::BackingOff => "died too often and waits before it is made again",
        WorkerState::Ready => return format!("was not heard for {} s", DOUBT.as_secs()),
    };
    match &slot.reason {
        Some(reason) => format!("{kept} ({reason})"),
        None => kept.to_owned(),
    }
}

fn all_full(pool: &PoolName, ready: &[Candidate], wanted: usize) -> String {
    let taken: u32 = ready.iter().map(|candidate| u32::from(candidate.running)).sum();
    let slots: u32 = ready.iter().map(|candidate| u32::from(candidate.slots)).sum();
    let first = ready.first().map_or(0, |candidate| candidate.slots);
    let is_even = ready.iter().all(|candidate| (candidate.running, candidate.slots) == (first, first));
    let count = ready.len();
    let others = match wanted.saturating_sub(count) {
        0 => String::new(),
        1 => ", 1 is not ready".to_owned(),
        others => format!(", {others} are not ready"),
    };
    match count {
        1 => format!("the only worker of pool {pool} that takes tasks is full ({taken} of {slots}){others}"),
        _ if is_even => {
            format!("all {count} workers of pool {pool} are full ({first} of {first} each){others}")
        }
        _ => format!("all {count} workers of pool {pool} are full ({taken} of {slots} slots){others}"),
    }
}

fn put_off(until: Timestamp) -> (Waiting, String) {
    let detail =
        "It was submitted to start no earlier than that; cancel it if it is no longer needed.".to_owned();
    let waiting = Waiting { reason: WaitReason::NotBefore, detail, until: Some(until), ahead: 0 };
    (waiting, format!("Waits for its time: it is not to run before {until}."))
}

fn rests(task: &Task, until: Moment, now: Moment) -> (Waiting, String) {
    let (spent, most, left) = (task.spent, task.max_attempts, until.since(now).as_secs_f64());
    let until = now.foretell(until);
    let detail = format!(
        "Attempt {} failed or was lost, so it waits a little before the next one; its `retry` says how long.",
        task.last_attempt
    );
    let waiting = Waiting { reason: WaitReason::Resting, detail, until: Some(until), ahead: 0 };
    (
        waiting,
        format!(
            "Waits another {left:.1} s before the next attempt, until {until}; {spent} of {most} attempts are used up."
        ),
    )
}

fn undecided(lost: &RunningAttempt) -> (Waiting, String) {
    let worker = lost.worker.name();
    let detail = format!(
        "Attempt {} was its last and was lost with {worker}. Whether that counts depends on how {worker} died, \
         which takes some seconds to find out.",
        lost.attempt
    );
    let waiting = Waiting { reason: WaitReason::Resting, detail, until: None, ahead: 0 };
    (waiting, format!("Waits for the verdict on its last attempt, which was lost with {worker}."))
}

fn runs(running: &RunningAttempt, ran_for: Duration, placed: Option<&Placed>) -> String {
    let seconds = ran_for.as_secs_f64();
    let (worker, attempt) = (running.worker.name(), running.attempt);
    match placed {
        Some(placed) => format!(
            "Runs on {worker} for {seconds:.1} s as attempt {attempt}, because {worker} {}.",
            why_chosen(placed.policy, placed.list.seen())
        ),
        None => format!(
            "Runs on {worker} for {seconds:.1} s as attempt {attempt}; a former leader chose the worker and \
             took its reasons along."
        ),
    }
}

/// Why the first of `seen` was chosen, after its name.
fn why_chosen(policy: Policy, seen: &[Seen]) -> String {
    let free = seen.iter().filter(|seen| seen.running < seen.slots).count();
    if free < 2 {
        return "was the only one with a free slot".to_owned();
    }
    let best = match policy {
        Policy::LeastLoaded => "had the smallest load",
        Policy::Seed => "had the lowest load by the formula of the `seed` policy",
        Policy::RoundRobin => "had not been given a task for the longest time",
        Policy::Random => "was drawn",
    };
    format!("{best} of {free} workers with a free slot")
}

fn placement_view(placed: &Placed) -> PlacementView {
    let slot = placed.list.seen().first().map(|seen| seen.slot).unwrap_or_default();
    let worker = ids::worker_name(&placed.pool, slot);
    PlacementView { attempt: placed.attempt, worker, policy: placed.policy, at: placed.at }
}

fn candidates_then(placed: &Placed) -> Vec<CandidateView> {
    let seen = placed.list.seen();
    let Some(chosen) = seen.first().copied() else { return Vec::new() };
    let reason = |seen: Seen| {
        if seen == chosen {
            why_chosen(placed.policy, placed.list.seen())
        } else if seen.rank > chosen.rank {
            "had a larger score".to_owned()
        } else if seen.running > chosen.running {
            "had the same score and more tasks".to_owned()
        } else {
            "had the same score; of equals, the first was taken".to_owned()
        }
    };
    seen.iter().map(|seen| seen_view(&placed.pool, *seen, &reason(*seen))).collect()
}

/// `reason` is for one with a free slot; one without has its own.
fn seen_view(pool: &PoolName, seen: Seen, reason: &str) -> CandidateView {
    let free_slots = seen.slots.saturating_sub(seen.running);
    let is_eligible = free_slots > 0;
    CandidateView {
        worker: ids::worker_name(pool, seen.slot),
        state: WorkerState::Ready,
        free_slots,
        slots: seen.slots,
        score: is_eligible.then_some(seen.rank),
        is_eligible,
        reason: if is_eligible {
            reason.to_owned()
        } else {
            format!("all its {} slots are taken", seen.slots)
        },
    }
}
