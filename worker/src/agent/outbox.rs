//! Results that the leader has not acknowledged yet, in the order in which they came to be.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use clb_protocol::link::{AttemptResult, LINE_SHARE_BYTES, Running};

use crate::run::AttemptKey;

/// The place of a result in the order of all results of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResultSeq(u64);

/// Kept until acknowledged; what was said on the present link is told from what was not.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    results: BTreeMap<ResultSeq, AttemptResult>,
    places: HashMap<AttemptKey, ResultSeq>,
    next: ResultSeq,
    unsent_from: ResultSeq,
}

impl Outbox {
    pub(super) fn put(&mut self, result: AttemptResult) {
        self.places.insert((result.task, result.attempt), self.next);
        self.results.insert(self.next, result);
        self.next = ResultSeq(self.next.0 + 1);
    }

    /// Takes out a result that is safe with the leader.
    pub(super) fn acknowledge(&mut self, key: AttemptKey) -> Option<AttemptResult> {
        let place = self.places.remove(&key)?;
        self.results.remove(&place)
    }

    pub(super) fn get(&self, key: AttemptKey) -> Option<&AttemptResult> {
        self.results.get(self.places.get(&key)?)
    }

    pub(super) fn contains(&self, key: AttemptKey) -> bool {
        self.places.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.results.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// The oldest results, as many as go into one line, and the place of the first that does not.
    pub(super) fn oldest(&self) -> (Vec<&AttemptResult>, ResultSeq) {
        self.line(ResultSeq::default())
    }

    /// The attempts whose results stand at this place or behind it.
    pub(super) fn from(&self, place: ResultSeq) -> impl Iterator<Item = Running> + '_ {
        self.results.range(place..).map(|(_, result)| Running {
            task: result.task,
            attempt: result.attempt,
            epoch: result.epoch,
            started_at: result.started_at,
            ran_for: Duration::ZERO,
        })
    }

    /// What was not said on the present link, as much of it as goes into one line.
    pub(super) fn unsent(&self) -> Vec<&AttemptResult> {
        self.line(self.unsent_from).0
    }

    fn line(&self, from: ResultSeq) -> (Vec<&AttemptResult>, ResultSeq) {
        let mut bytes = 0;
        let mut line = Vec::new();
        for (place, result) in self.results.range(from..) {
            bytes += result.gave.result_bytes();
            if bytes > LINE_SHARE_BYTES && !line.is_empty() {
                return (line, *place);
            }
            line.push(result);
        }
        (line, self.next)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.results.last_key_value().is_some_and(|(place, _)| *place >= self.unsent_from)
    }

    /// What [`Outbox::unsent`] gave was said.
    pub(super) fn mark_sent(&mut self) {
        self.unsent_from = self.line(self.unsent_from).1;
    }

    /// On a new link only what came before `from` was said, in its first line.
    pub(super) fn rewind(&mut self, from: ResultSeq) {
        self.unsent_from = from;
    }

    pub(super) fn clear(&mut self) {
        self.results.clear();
        self.places.clear();
    }
}
