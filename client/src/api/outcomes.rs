//! The ended tasks, each exactly once, as a stream without end.

use std::collections::VecDeque;
use std::time::Duration;

use clb_protocol::OutcomeSeq;
use clb_protocol::api::{OutcomePage, OutcomeView};
use futures::Stream;
use futures::stream;

use super::Client;
use super::call::Call;
use crate::Error;

/// Outcomes asked for in one request: a page that has fewer is the last for now.
pub(super) const PAGE: u32 = 1_000;
/// How long one request waits for a new outcome.
const HOLD: Duration = Duration::from_secs(30);

struct Place {
    client: Client,
    after: OutcomeSeq,
    group: Option<String>,
    page: VecDeque<OutcomeView>,
}

impl Client {
    /// A page of the outcomes after `after`; when there is none, the answer waits for the first up to `hold`
    /// (at most 60 s) and is empty otherwise.
    pub async fn outcome_page(
        &self,
        after: OutcomeSeq,
        group: Option<&str>,
        hold: Duration,
    ) -> Result<OutcomePage, Error> {
        let mut call = Call::get("/api/v1/outcomes").query("after", &after).query("limit", &PAGE);
        if let Some(group) = group {
            call = call.query("group", &group);
        }
        self.ask(if hold.is_zero() { call } else { call.holding(hold) }).await
    }

    /// The outcomes after `after`, in their order, each once, and then those to come. Zero starts
    /// with the first; the `seq` of the last one seen goes on from there.
    ///
    /// The stream does not end by itself. After an error it goes on where it was when it is polled
    /// again.
    pub fn outcomes(
        &self,
        after: OutcomeSeq,
        group: Option<&str>,
    ) -> impl Stream<Item = Result<OutcomeView, Error>> + Send + use<> {
        let client = self.clone();
        let place = Place { client, after, group: group.map(str::to_owned), page: VecDeque::new() };
        stream::unfold(place, |mut place| async move {
            let next = place.next().await;
            Some((next, place))
        })
    }
}

impl Place {
    async fn next(&mut self) -> Result<OutcomeView, Error> {
        loop {
            if let Some(outcome) = self.page.pop_front() {
                return Ok(outcome);
            }
            let page = self.client.outcome_page(self.after, self.group.as_deref(), HOLD).await?;
            self.after = page.next;
            self.page = page.outcomes.into();
        }
    }
}
