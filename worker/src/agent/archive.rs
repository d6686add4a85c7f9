//! What attempts gave that did not succeed, kept for a while: the leader keeps only a task's outcome, and
//! somebody may want to see what an attempt before the last one wrote.

use std::collections::VecDeque;

use clb_protocol::link::{AttemptResult, Failure, Yield};
use serde_json::value::RawValue;

use super::Agent;
use crate::run::AttemptKey;

const MOST_BYTES: usize = 4 << 20;
const MOST: usize = 256;

/// Where the outputs of an attempt are.
#[derive(Debug)]
pub(crate) enum Whereabouts<'a> {
    /// With the program that writes them.
    Running,
    /// In what the attempt gave, which may be nothing.
    Ended(Option<&'a RawValue>),
    /// Nowhere here.
    Unknown,
}

impl Agent {
    /// Where the outputs of an attempt are.
    pub(crate) fn whereabouts(&self, key: AttemptKey) -> Whereabouts<'_> {
        if self.running.is_program(key) {
            return Whereabouts::Running;
        }
        let gave = match self.outbox.get(key).map(|result| &result.gave) {
            None => return self.archive.find(key),
            Some(Yield::Succeeded(result)) => Some(result),
            Some(
                Yield::Failed(Failure { result, .. }) | Yield::TimedOut(result) | Yield::Cancelled(result),
            ) => result.as_ref(),
        };
        Whereabouts::Ended(gave.map(|gave| &**gave))
    }
}

/// The newest ones, as many as there is room for.
#[derive(Debug, Default)]
pub(super) struct Archive {
    kept: VecDeque<(AttemptKey, Option<Box<RawValue>>)>,
    bytes: usize,
}

impl Archive {
    pub(super) fn put(&mut self, result: AttemptResult) {
        let key = (result.task, result.attempt);
        let gave = match result.gave {
            Yield::Succeeded(_) => return,
            Yield::Failed(Failure { result, .. }) | Yield::TimedOut(result) | Yield::Cancelled(result) => {
                result
            }
        };
        self.bytes += size(gave.as_deref());
        self.kept.push_back((key, gave));
        while self.bytes > MOST_BYTES || self.kept.len() > MOST {
            let Some((_, dropped)) = self.kept.pop_front() else { return };
            self.bytes -= size(dropped.as_deref());
        }
    }

    fn find(&self, key: AttemptKey) -> Whereabouts<'_> {
        let found = self.kept.iter().rev().find(|(kept, _)| *kept == key);
        found.map_or(Whereabouts::Unknown, |(_, gave)| Whereabouts::Ended(gave.as_deref()))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(gave: Option<&RawValue>) -> usize {
    gave.map_or(0, |gave| gave.get().len())
}
