//! What a command writes, while it runs and after.

use std::time::Duration;

use bytes::Bytes;
use clb_protocol::{AttemptNo, TaskId};
use futures::{Stream, StreamExt as _};
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::call::refusal_of;
use super::search::Search;
use super::{Client, OPEN_WITHIN};
use crate::{Error, Setback};

/// One of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Client {
    /// What an attempt of a command wrote, from its beginning; the newest attempt when none is named. With
    /// `follow` the stream goes on until the attempt has ended, and begins when it has begun.
    ///
    /// A stream that breaks off with an error is not taken up again: what is missing is in the result of the
    /// task, or comes when this is asked again.
    pub async fn output(
        &self,
        id: TaskId,
        stream: OutputStream,
        attempt: Option<AttemptNo>,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let follow_part = if follow { "&follow=true" } else { "" };
        let attempt_part = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
        let query = format!("stream={}{follow_part}{attempt_part}", stream.as_str());
        let (url, response) = self.open(&format!("/api/v1/tasks/{id}/output"), &query, follow).await?;
        Ok(response.bytes_stream().map(move |piece| {
            piece.map_err(|source| {
                let setback = Setback::Unreachable { url: url.clone(), source: source.without_url() };
                Error::Broken { source: Box::new(setback) }
            })
        }))
    }

    async fn open(&self, path: &str, query: &str, follow: bool) -> Result<(Url, Response), Error> {
        let mut search = Search::new(self.patience);
        let mut backoff = Backoff::default();
        let first = self.last_good();
        for n in 0.. {
            let (place, url) = self.nth(first + n);
            let asked_at = Instant::now();
            let setback = match self.try_to_open(url, path, query, follow).await {
                Ok(response) if response.status().is_success() => {
                    self.remember(place);
                    self.note_answer(url);
                    return Ok((url.clone(), response));
                }
                Ok(response) => refusal_of(url, response).await?,
                Err(setback) => setback,
            };
            // Whoever follows a task that has not begun is held until it does.
            let now = Instant::now();
            search.note(asked_at, if follow { Duration::MAX } else { Duration::ZERO }, now);
            self.note_setback(&setback, search.lasts(now), search.left(now));
            if search.left(now).is_zero() {
                let tried = self.inner.orchestrators.clone();
                return Err(Error::Unavailable { tried, waited: search.lasts(now), last: Box::new(setback) });
            }
            if (n + 1) % self.inner.orchestrators.len() == 0 {
                tokio::time::sleep(backoff.pause(None)).await;
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn try_to_open(
        &self,
        url: &Url,
        path: &str,
        query: &str,
        follow: bool,
    ) -> Result<Response, Setback> {
        let mut address = url.clone();
        address.set_path(path);
        address.set_query(Some(query));
        let sending = self.inner.http.get(address).send();
        let unreachable =
            |source: reqwest::Error| Setback::Unreachable { url: url.clone(), source: source.without_url() };
        if follow {
            // The answer may begin only when the task does.
            return sending.await.map_err(unreachable);
        }
        match timeout(OPEN_WITHIN, sending).await {
            Err(_) => Err(Setback::Silent { url: url.clone(), waited: OPEN_WITHIN }),
            Ok(answered) => answered.map_err(unreachable),
        }
    }
}
