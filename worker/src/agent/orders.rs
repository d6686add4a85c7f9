//! What the agent does on the leader's orders, on the end of an attempt and as time passes.

use clb_protocol::link::{AttemptResult, RunOrder, Running, WorkerOrder, Yield};
use clb_protocol::{Epoch, Timestamp};

use super::contact::{Contact, Phase};
use super::running::Attempt;
use super::{Agent, Effect, Now};
use crate::journal::Note;
use crate::run::{AttemptKey, Burner, Ended, Work};

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
                        self.end(key, &attempt, Yield::Cancelled, now);
                    }
                }
            }
            WorkerOrder::Ack(keys) => {
                for key in keys {
                    self.outbox.acknowledge(key);
                }
                self.settle(now);
            }
            WorkerOrder::Drain => linked.draining = true,
            WorkerOrder::Welcome(again) if again.epoch == epoch => self.learn(&again),
            WorkerOrder::Welcome(_) | WorkerOrder::Ping => {}
        }
    }

    /// An attempt on a thread came to its end; it may have been cancelled or given back meanwhile.
    pub(crate) fn handle_ended(&mut self, ended: Ended, now: Now) {
        if let Some(attempt) = self.running.remove(ended.key) {
            self.end(ended.key, &attempt, ended.gave, now);
        }
    }

    /// Time passed.
    pub(crate) fn handle_time(&mut self, now: Now) {
        while let Some((key, mut attempt)) = self.running.pop_due(now.instant) {
            let gave = std::mem::replace(&mut attempt.at_deadline, Yield::TimedOut);
            self.end(key, &attempt, gave, now);
        }
        if self.linked().is_some_and(|linked| linked.is_silent(now.instant)) {
            self.handle_unlinked(now, "it has said nothing for too long");
        }
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
            farewell.returned.push(Running { task, attempt, epoch, started_at: now.at });
            farewell.closing = None;
            return;
        }
        let (span, at_deadline, thread) = match Work::of(&order.spec) {
            Work::Over(gave) => {
                self.put(key, epoch, now.at, gave, now);
                return;
            }
            Work::Wait(span, gives) => (span, gives, None),
            Work::Burn { span, limit, gives } => {
                let (burner, stop) = Burner::new(key, span, gives);
                self.effects.push(Effect::Burn(burner));
                (limit, Yield::TimedOut, Some(stop))
            }
        };
        let deadline = now.instant + span;
        self.running.insert(key, Attempt { epoch, started_at: now.at, deadline, at_deadline, thread });
    }

    fn end(&mut self, key: AttemptKey, attempt: &Attempt, gave: Yield, now: Now) {
        if attempt.thread.is_some() && matches!(gave, Yield::TimedOut) {
            self.note(now, format!("Stopped payload: {} ran into its timeout", key.0));
        }
        self.put(key, attempt.epoch, attempt.started_at, gave, now);
    }

    fn put(&mut self, key: AttemptKey, epoch: Epoch, started_at: Timestamp, gave: Yield, now: Now) {
        let (task, attempt) = key;
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
