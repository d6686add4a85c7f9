//! What the agent does on the leader's orders, on the end of an attempt and as time passes.
//!
//! ```text
//! ordered --> running --its end--> in the outbox
//!                |  timeout, cancel: at once without a program
//!                +--> stopping (a program and all its descendants) --its end--> in the outbox
//! ```

use std::time::Duration;

use clb_protocol::Epoch;
use clb_protocol::api::Progress;
use clb_protocol::link::{AttemptResult, RunOrder, Running, WorkerOrder, Yield};

use super::contact::{Contact, Phase};
use super::running::{Attempt, Doer, Reason};
use super::{Agent, Effect, Now};
use crate::journal::Note;
use crate::run::command::{Stop, StopGives};
use crate::run::{AttemptKey, Burner, Ended, Work};

/// A worker that is to end waits for its programs no longer than this.
const LEAVING_GRACE: Duration = Duration::from_secs(2);

impl Agent {
    /// The leader said something on the present link.
    pub(crate) fn handle_order(&mut self, order: WorkerOrder, now: Now) {
        let Contact::Linked(linked) = &mut self.contact else { return };
        linked.heard_at = now.instant;
        self.heard += 1;
        let epoch = linked.welcome.epoch;
        match order {
            WorkerOrder::Run(orders) => {
                for order in orders {
                    self.run(&order, epoch, now);
                }
                self.warn_beyond_slots(now);
            }
            WorkerOrder::Cancel(keys) => {
                for key in keys {
                    if let Some(attempt) = self.running.remove(key) {
                        self.cancel(key, attempt, now);
                    }
                }
            }
            WorkerOrder::Ack(keys) => {
                for key in keys {
                    if let Some(result) = self.outbox.acknowledge(key) {
                        self.archive.put(result);
                    }
                }
                self.settle(now);
            }
            WorkerOrder::Welcome(again) if again.epoch == epoch => self.learn(&again),
            WorkerOrder::Welcome(_) | WorkerOrder::Ping => {}
        }
    }

    /// An attempt came to its end; it may have been cancelled or given back meanwhile.
    pub(crate) fn handle_ended(&mut self, ended: Ended, now: Now) {
        let Some(attempt) = self.running.remove(ended.key) else { return };
        self.progress.forget(ended.key);
        let is_unfinished = matches!(ended.gave, Yield::Cancelled(_))
            && matches!(attempt.doer, Doer::Program(Some(Reason::Leaving)));
        if let Phase::Leaving(farewell) = &mut self.phase
            && is_unfinished
        {
            farewell.returned.push(attempt.told(ended.key, now));
            return;
        }
        self.put(ended.key, attempt.epoch, attempt.started, ended.gave, now);
    }

    /// An attempt says how far it is.
    pub(crate) fn handle_progress(&mut self, key: AttemptKey, progress: Progress) {
        if self.running.contains(key) {
            self.progress.put(key, progress);
        }
    }

    /// Time passed.
    pub(crate) fn handle_time(&mut self, now: Now) {
        while let Some((key, attempt)) = self.running.pop_due(now.instant) {
            let Attempt { epoch, started, doer, .. } = attempt;
            match doer {
                Doer::Clock(gave) => self.put(key, epoch, started, gave, now),
                Doer::Thread { .. } => {
                    self.note_timeout(key, now);
                    self.put(key, epoch, started, Yield::TimedOut(None), now);
                }
                Doer::Program(_) => {
                    self.note_timeout(key, now);
                    self.stop(key, Attempt { epoch, started, deadline: None, doer }, Reason::TimedOut);
                }
            }
        }
        if self.linked().is_some_and(|linked| linked.is_silent(now.instant)) {
            self.handle_unlinked(now, "it has said nothing for too long");
        }
    }

    /// Takes out what can be given back at once. Programs are stopped first.
    pub(super) fn return_running(&mut self, now: Now) -> Vec<Running> {
        let mut returned = Vec::new();
        for (key, attempt) in self.running.take_all() {
            match attempt.doer {
                Doer::Clock(_) | Doer::Thread { .. } => returned.push(attempt.told(key, now)),
                Doer::Program(_) => self.stop(key, attempt, Reason::Leaving),
            }
        }
        returned
    }

    /// Ends everything that runs, without a result.
    pub(super) fn abandon_all(&mut self) {
        self.progress.clear();
        for (key, attempt) in self.running.take_all() {
            if matches!(attempt.doer, Doer::Program(_)) {
                self.effects.push(Effect::Abandon(key));
            }
        }
    }

    fn cancel(&mut self, key: AttemptKey, attempt: Attempt, now: Now) {
        match attempt.doer {
            Doer::Clock(_) | Doer::Thread { .. } => {
                self.put(key, attempt.epoch, attempt.started, Yield::Cancelled(None), now);
            }
            Doer::Program(_) => self.stop(key, attempt, Reason::Cancelled),
        }
    }

    /// Has a program stopped; its attempt goes on until it has. The first reason counts.
    fn stop(&mut self, key: AttemptKey, attempt: Attempt, reason: Reason) {
        let Attempt { epoch, started, doer, .. } = attempt;
        let former = if let Doer::Program(former) = doer { former } else { None };
        let grace = match reason {
            Reason::TimedOut | Reason::Cancelled => self.identity.stop_grace,
            Reason::Leaving => self.identity.stop_grace.min(LEAVING_GRACE),
        };
        let reason = former.unwrap_or(reason);
        let gives = match reason {
            Reason::TimedOut => StopGives::TimedOut,
            Reason::Cancelled | Reason::Leaving => StopGives::Cancelled,
        };
        self.effects.push(Effect::Stop(key, Stop { gives, grace }));
        let doer = Doer::Program(Some(reason));
        self.running.insert(key, Attempt { epoch, started, deadline: None, doer });
    }

    fn run(&mut self, order: &RunOrder, epoch: Epoch, now: Now) {
        let key = (order.task, order.attempt);
        if self.is_known(key) {
            return;
        }
        self.effects.push(Effect::Note(now.at, Note::ReceivedPayload(order.task)));
        if let Phase::Leaving(farewell) = &mut self.phase {
            let (task, attempt) = key;
            // The order crossed the farewell on its way.
            farewell.returned.push(Running {
                task,
                attempt,
                epoch,
                started_at: now.at,
                ran_for: Duration::ZERO,
            });
            farewell.closing = None;
            return;
        }
        let (span, doer) = match Work::of(order, self.identity.stop_grace) {
            Work::Over(gave) => {
                self.put(key, epoch, now, gave, now);
                return;
            }
            Work::Wait(span, gives) => (span, Doer::Clock(gives)),
            Work::Burn { span, limit, gives } => {
                let (burner, stop) = Burner::new(key, span, gives);
                self.effects.push(Effect::Burn(burner));
                (limit, Doer::Thread { _stop: stop })
            }
            Work::Run { job, limit } => {
                self.effects.push(Effect::Start(job));
                (limit, Doer::Program(None))
            }
        };
        let deadline = Some(now.instant + span);
        self.running.insert(key, Attempt { epoch, started: now, deadline, doer });
    }

    fn note_timeout(&mut self, key: AttemptKey, now: Now) {
        self.note(now, format!("Stopped payload: {} ran into its timeout", key.0));
    }

    fn put(&mut self, key: AttemptKey, epoch: Epoch, started: Now, gave: Yield, now: Now) {
        let (task, attempt) = key;
        let started_at = started.at;
        self.ended += 1;
        self.outbox.put(AttemptResult { task, attempt, epoch, started_at, ended_at: now.at, gave });
    }

    fn warn_beyond_slots(&mut self, now: Now) {
        let (running, slots) = (self.running.len(), usize::from(self.identity.slots));
        if running > slots {
            self.note(now, format!("Runs {running} tasks at once, more than its {slots} slots"));
        }
    }
}
