//! What must hold, as a function of what was sent and what was seen. It asks nobody and has no clock.
//!
//! Of a task that has ended only its place, its state and a digest are kept, some 100 bytes, so that hours of
//! history fit into memory.

mod expected;
mod leadership;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use clb_protocol::api::{OutcomeView, TaskState};
use clb_protocol::{OutcomeSeq, TaskId};

pub(crate) use expected::{End, Expected};
pub(crate) use leadership::Leadership;
pub(crate) use violation::Violation;

/// A task that was sent and has no outcome yet.
#[derive(Debug)]
struct Open {
    expected: Expected,
    is_acknowledged: bool,
    is_cancel_sent: bool,
    is_cancel_answered: bool,
}

/// A task that has its outcome.
#[derive(Clone, Copy, Debug)]
struct Ended {
    seq: OutcomeSeq,
    state: TaskState,
}

/// A task that was sent by a key, and its name once that is known.
#[derive(Debug)]
struct Keyed {
    expected: Expected,
    task: Option<TaskId>,
}

/// The label in which tasks that are sent by a key carry it.
pub(crate) const KEY: &str = "key";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    open: BTreeMap<TaskId, Open>,
    ended: HashMap<TaskId, Ended>,
    digests: BTreeMap<OutcomeSeq, u64>,
    keys: HashMap<String, Keyed>,
    replays: HashMap<TaskId, TaskId>,
    acknowledged: u64,
    violations: Vec<Violation>,
}

impl Checker {
    /// A task is about to be sent.
    pub(crate) fn sent(&mut self, id: TaskId, expected: Expected) {
        let open =
            Open { expected, is_acknowledged: false, is_cancel_sent: false, is_cancel_answered: false };
        self.open.insert(id, open);
    }

    /// A task was answered 201 or 200: from now on it must not be lost.
    pub(crate) fn acknowledged(&mut self, id: TaskId) {
        self.acknowledged += 1;
        if let Some(open) = self.open.get_mut(&id) {
            open.is_acknowledged = true;
        } else if !self.ended.contains_key(&id) {
            self.violations.push(Violation::UnknownAcknowledged { task: id });
        }
    }

    /// A good request was refused for what it says.
    pub(crate) fn refused(&mut self, id: TaskId, status: u16, detail: String) {
        self.violations.push(Violation::Refused { task: id, status, detail });
    }

    /// A task is about to be sent by a key, which its label [`KEY`] has.
    pub(crate) fn sent_by_key(&mut self, key: &str, expected: Expected) {
        self.keys.insert(key.to_owned(), Keyed { expected, task: None });
    }

    /// The task that a key was answered with.
    pub(crate) fn key_names(&mut self, key: &str, id: TaskId) {
        let Some(keyed) = self.keys.get_mut(key) else { return };
        let (first, expected) = (*keyed.task.get_or_insert(id), keyed.expected.clone());
        if first != id {
            self.violations.push(Violation::KeyOfTwo { key: key.to_owned(), tasks: [first, id] });
        } else if !self.is_known(id) {
            self.sent(id, expected);
        }
    }

    fn is_known(&self, id: TaskId) -> bool {
        self.open.contains_key(&id) || self.ended.contains_key(&id)
    }

    /// The replay that a task was answered with.
    pub(crate) fn replayed(&mut self, original: TaskId, replay: TaskId) {
        let first = *self.replays.entry(original).or_insert(replay);
        if first != replay {
            self.violations.push(Violation::ReplayedTwice { original, replays: [first, replay] });
        }
        if !self.is_known(replay) {
            self.sent(replay, Expected::any());
        }
        self.acknowledged(replay);
    }

    /// A cancellation is about to be sent.
    pub(crate) fn cancel_sent(&mut self, id: TaskId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.is_cancel_sent = true;
        }
    }

    /// A cancellation was answered 200: the task must be cancelled.
    pub(crate) fn cancelled(&mut self, id: TaskId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.is_cancel_answered = true;
        } else if let Some(ended) = self.ended.get(&id).filter(|ended| ended.state != TaskState::Cancelled) {
            self.violations.push(Violation::NotCancelled { task: id, state: ended.state });
        }
    }

    /// An outcome, read for the first time.
    pub(crate) fn outcome(&mut self, outcome: &OutcomeView) {
        let (seq, task) = (outcome.seq, &outcome.task);
        if let Some((last, _)) = self.digests.last_key_value().filter(|(last, _)| **last >= seq) {
            self.violations.push(Violation::OutOfOrder { last: *last, seq, task: task.id });
        }
        if let Some(first) = self.ended.get(&task.id) {
            self.violations.push(Violation::TwoOutcomes { task: task.id, seqs: [first.seq, seq] });
            return;
        }
        self.digests.insert(seq, digest(outcome));
        if let Some(key) = task.labels.get(KEY) {
            self.key_names(key, task.id);
        }
        let open = self.open.remove(&task.id);
        self.ended.insert(task.id, Ended { seq, state: task.state });
        let wrong = match (open, task.replay_of) {
            (Some(open), _) => {
                let wrong = open.expected.broken_by(task, open.is_cancel_sent);
                let is_ignored = open.is_cancel_answered && task.state != TaskState::Cancelled;
                wrong.or(is_ignored.then(|| "its cancellation was answered 200".to_owned()))
            }
            // One whose answer was lost.
            (None, Some(original)) => {
                let first = *self.replays.entry(original).or_insert(task.id);
                (first != task.id).then(|| format!("{original} was replayed as {first} already"))
            }
            (None, None) => Some("nobody sent it".to_owned()),
        };
        self.violations.extend(wrong.map(|why| Violation::WrongOutcome { task: task.id, seq, why }));
    }

    /// An outcome, read again.
    pub(crate) fn seen_again(&mut self, outcome: &OutcomeView) {
        let task = outcome.task.id;
        match self.digests.get(&outcome.seq) {
            None => self.violations.push(Violation::CameLate { task, seq: outcome.seq }),
            Some(first) if *first != digest(outcome) => {
                self.violations.push(Violation::Changed { task, seq: outcome.seq });
            }
            Some(_) => {}
        }
    }

    /// All outcomes from the first to the last one were read again, and there were so many.
    pub(crate) fn counted_again(&mut self, count: u64) {
        let first = self.digests.len() as u64;
        if count < first {
            self.violations.push(Violation::Vanished { first, again: count });
        }
    }

    /// What the cluster says of how many ended, once nothing runs.
    pub(crate) fn counted_by_cluster(&mut self, count: u64) {
        let recorded = self.digests.len() as u64;
        if count != recorded {
            self.violations.push(Violation::Miscounted { recorded, told: count });
        }
    }

    /// Something that was found elsewhere.
    pub(crate) fn found(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// Nothing more will come: whatever was acknowledged and has not ended is lost.
    pub(crate) fn close(&mut self) {
        let lost = self.open.iter().filter(|(_, open)| open.is_acknowledged);
        let lost: Vec<_> = lost.map(|(id, open)| (*id, open.is_cancel_answered)).collect();
        for (task, is_cancelled) in lost {
            self.violations.push(Violation::Lost { task, is_cancelled });
        }
    }

    /// How many acknowledged tasks have no outcome yet.
    pub(crate) fn waiting(&self) -> usize {
        self.open.values().filter(|open| open.is_acknowledged).count()
    }

    /// The last outcome that was read.
    pub(crate) fn last(&self) -> OutcomeSeq {
        self.digests.last_key_value().map_or(OutcomeSeq(0), |(seq, _)| *seq)
    }

    /// How many outcomes there are.
    pub(crate) fn ended(&self) -> usize {
        self.digests.len()
    }

    /// How many answers 201 and 200 there were.
    pub(crate) fn answers(&self) -> u64 {
        self.acknowledged
    }

    /// What is broken so far.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

/// All of an outcome that may never change. Attempts may still get their verdicts, and what a cancelled command had
/// written comes a moment after its end.
fn digest(outcome: &OutcomeView) -> u64 {
    let task = &outcome.task;
    let mut hasher = DefaultHasher::new();
    (outcome.seq, task.id, task.state, task.finished_at).hash(&mut hasher);
    if task.state != TaskState::Cancelled {
        task.result.as_ref().map(|result| result.get()).hash(&mut hasher);
    }
    task.error.as_ref().map(|error| (&error.code, &error.message)).hash(&mut hasher);
    hasher.finish()
}
