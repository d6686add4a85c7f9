//! What tasks belong to together.

use std::collections::VecDeque;
use std::time::Duration;

use clb_protocol::OutcomeSeq;
use clb_protocol::api::{GroupPage, OutcomeView, TaskState, TaskView};
use futures::{Stream, stream};

use super::call::Call;
use super::outcomes::PAGE;
use super::{Client, TaskFilter};
use crate::Error;

/// How long one request waits for a new outcome.
const HOLD: Duration = Duration::from_secs(30);

struct Place {
    client: Client,
    group: String,
    after: OutcomeSeq,
    page: VecDeque<OutcomeView>,
    /// Whether there may be more that have ended already: nothing else needs to be known before those are asked for.
    is_behind: bool,
}

impl Client {
    /// A page of the groups whose names begin with `prefix`, in the order of their names and behind `cursor`, which
    /// is `next` of the page before; `limit` is at most 1000.
    pub async fn groups(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<GroupPage, Error> {
        let mut call = Call::get("/api/v1/groups").query("prefix", &prefix).query("limit", &limit);
        if let Some(cursor) = cursor {
            call = call.query("cursor", &cursor);
        }
        self.ask(call).await
    }

    /// A task of the group that has not ended; `None` when all have.
    pub async fn open_in_group(&self, group: &str) -> Result<Option<TaskView>, Error> {
        // A task may go back to the queue just between two questions, so each is asked twice.
        for state in [TaskState::Queued, TaskState::Running, TaskState::Queued, TaskState::Running] {
            let filter = TaskFilter {
                state: Some(state),
                group: Some(group.to_owned()),
                limit: Some(1),
                ..TaskFilter::default()
            };
            if let Some(task) = self.first(filter).await? {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// The newest task that fits.
    pub async fn first(&self, mut filter: TaskFilter) -> Result<Option<TaskView>, Error> {
        loop {
            let mut page = self.tasks(&filter).await?;
            match (page.tasks.pop(), page.next) {
                // Behind many tasks of others.
                (None, Some(next)) => filter.cursor = Some(next),
                (first, _) => return Ok(first),
            }
        }
    }

    /// The outcomes of a group behind `after`, in their order and each once, until all of its tasks have ended: the
    /// stream ends with the group. Submit all of them before, or those of a later submission may be left out.
    ///
    /// A task that failed and was replayed comes as well, with [`TaskView::replayed_by`], and its replay behind it.
    /// After an error the stream goes on where it was when it is polled again.
    pub fn group_outcomes(
        &self,
        group: &str,
        after: OutcomeSeq,
    ) -> impl Stream<Item = Result<OutcomeView, Error>> + Send + use<> {
        let (client, group) = (self.clone(), group.to_owned());
        let place = Place { client, group, after, page: VecDeque::new(), is_behind: true };
        stream::unfold(place, |mut place| async move {
            let next = place.next().await.transpose()?;
            Some((next, place))
        })
    }
}

impl Place {
    async fn next(&mut self) -> Result<Option<OutcomeView>, Error> {
        loop {
            if let Some(outcome) = self.page.pop_front() {
                return Ok(Some(outcome));
            }
            // What had ended when nothing was open any more is in the page that is asked for after that.
            let is_over = !self.is_behind && self.client.open_in_group(&self.group).await?.is_none();
            let hold = if is_over || self.is_behind { Duration::ZERO } else { HOLD };
            let page = self.client.outcome_page(self.after, Some(&self.group), hold).await?;
            if is_over && page.outcomes.is_empty() {
                return Ok(None);
            }
            self.is_behind = page.outcomes.len() >= PAGE as usize;
            self.after = page.next;
            self.page = page.outcomes.into();
        }
    }
}
