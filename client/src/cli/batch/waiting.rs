//! The tasks of a batch that have not ended yet: 16 bytes each, by their groups.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;

use clb_client::Client;
use clb_client::protocol::api::TaskState;
use clb_client::protocol::{OutcomeSeq, TaskId};
use futures::StreamExt as _;

use super::super::gaps::is_incomplete;
use super::super::progress::Progress;
use super::Ended;
use crate::failure::Failure;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    groups: BTreeMap<String, HashSet<TaskId>>,
}

impl Waiting {
    pub(super) fn expect(&mut self, group: String, id: TaskId) {
        self.groups.entry(group).or_default().insert(id);
    }

    /// A group after the other: each outcome stands in its group exactly once, for ever.
    pub(super) async fn until_ended(self, client: &Client) -> Result<Ended, Failure> {
        let total: usize = self.groups.values().map(HashSet::len).sum();
        let progress = Progress::of_tasks(total as u64);
        let mut ended = Ended::default();
        for (group, mut open) in self.groups {
            let mut outcomes = pin!(client.outcomes(OutcomeSeq(0), Some(&group)));
            while !open.is_empty() {
                let Some(outcome) = outcomes.next().await else { break };
                let task = outcome?.task;
                if open.remove(&task.id) {
                    match task.state {
                        TaskState::Succeeded => ended.succeeded += 1,
                        TaskState::Cancelled => ended.cancelled += 1,
                        _ => ended.failed += 1,
                    }
                    ended.incomplete += u64::from(is_incomplete(&task));
                    progress.advance(1);
                }
            }
        }
        progress.finish();
        Ok(ended)
    }
}
