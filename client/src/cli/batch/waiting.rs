//! The tasks of a batch that have not ended yet: 16 bytes each, by their groups.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;

use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::{OutcomeSeq, TaskId};
use clb_client::{Client, TaskFilter};
use futures::StreamExt as _;

use super::super::gaps::is_incomplete;
use super::super::held_up;
use super::super::progress::Progress;
use super::Ended;
use crate::failure::Failure;

/// How many replayed tasks are asked for in one request.
const PAGE: u32 = 500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    groups: BTreeMap<String, HashSet<TaskId>>,
}

/// What is known of the tasks of one group. A replay stands for the task whose work it does again.
#[derive(Default)]
struct Standing {
    open: HashSet<TaskId>,
    succeeded: u64,
    /// Those without success, and how they ended.
    others: HashMap<TaskId, TaskState>,
    /// Those of which some output is missing.
    incomplete: u64,
}

impl Standing {
    /// Takes in an outcome; each comes once, and that of a replay after that of what it replays.
    fn take(&mut self, task: &TaskView) -> bool {
        let stands_for_another = task.replay_of.is_some_and(|of| self.others.remove(&of).is_some());
        if !self.open.remove(&task.id) && !stands_for_another {
            return false;
        }
        self.incomplete += u64::from(task.replayed_by.is_none() && is_incomplete(task));
        match (task.replayed_by, task.state) {
            (Some(replay), _) => drop(self.open.insert(replay)),
            (None, TaskState::Succeeded) => self.succeeded += 1,
            (None, state) => drop(self.others.insert(task.id, state)),
        }
        true
    }

    /// Expects the replays that began after the outcomes of what they replay were read.
    async fn expect_replays(&mut self, client: &Client, group: &str) -> Result<(), Failure> {
        let mut filter = TaskFilter {
            is_replayed: Some(true),
            group: Some(group.to_owned()),
            limit: Some(PAGE),
            ..TaskFilter::default()
        };
        while !self.others.is_empty() {
            let page = client.tasks(&filter).await?;
            for task in page.tasks {
                if let Some(replay) = task.replayed_by
                    && self.others.remove(&task.id).is_some()
                {
                    self.open.insert(replay);
                }
            }
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => break,
            }
        }
        Ok(())
    }
}

impl Waiting {
    pub(super) fn expect(&mut self, group: String, id: TaskId) {
        self.groups.entry(group).or_default().insert(id);
    }

    /// A group after the other: each outcome stands in its group exactly once, for ever.
    pub(super) async fn until_ended(self, client: &Client) -> Result<Ended, Failure> {
        let total: usize = self.groups.values().map(HashSet::len).sum();
        let progress = Progress::of_tasks(total as u64);
        let watched = Cell::new(None);
        let collecting = self.collect(client, &progress, &watched);
        let ended = held_up::told(client, &watched, Some(&progress), collecting).await?;
        progress.finish();
        Ok(ended)
    }

    async fn collect(
        self,
        client: &Client,
        progress: &Progress,
        watched: &Cell<Option<TaskId>>,
    ) -> Result<Ended, Failure> {
        let mut ended = Ended::default();
        for (group, open) in self.groups {
            let mut standing = Standing { open, ..Standing::default() };
            let mut outcomes = pin!(client.outcomes(OutcomeSeq(0), Some(&group)));
            loop {
                while !standing.open.is_empty() {
                    if watched.get().is_none_or(|id| !standing.open.contains(&id)) {
                        watched.set(standing.open.iter().next().copied());
                    }
                    let Some(outcome) = outcomes.next().await else { break };
                    if standing.take(&outcome?.task) {
                        progress.advance(1);
                    }
                }
                standing.expect_replays(client, &group).await?;
                if standing.open.is_empty() {
                    break;
                }
            }
            ended.succeeded += standing.succeeded;
            ended.incomplete += standing.incomplete;
            for state in standing.others.into_values() {
                *if state == TaskState::Cancelled { &mut ended.cancelled } else { &mut ended.failed } += 1;
            }
        }
        Ok(ended)
    }
}
