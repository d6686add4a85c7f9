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

/// Outcomes asked for in one request.
const PAGE: u32 = 1_000;
/// How long one request waits for a new outcome.
const HOLD: Duration = Duration::from_secs(30);

struct Place {
    client: Client,
    after: OutcomeSeq,
    group: Option<String>,
    page: VecDeque<OutcomeView>,
}

impl Client {
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
            let mut call = Call::get("/api/v1/outcomes").query("after", &self.after).query("limit", &PAGE);
            if let Some(group) = &self.group {
                call = call.query("group", group);
            }
            let page: OutcomePage = self.client.ask(call.holding(HOLD)).await?;
            self.after = page.next;
            self.page = page.outcomes.into();
        }
    }
}
