//! What happens in the cluster, as it happens: one subscription that survives the orchestrator that
//! serves it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use clb_protocol::api::{ClusterView, LogView, TaskEvent, WorkerView};
use futures::{Stream, StreamExt as _, stream};
use reqwest::Url;
use reqwest::header::ACCEPT;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::call::setback_of;
use super::sse::{RawEvent, Reader};
use super::{Client, OPEN_WITHIN};
use crate::Setback;

/// A subscription that brings nothing for so long, not even a comment, is taken for dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(6);

/// Something that happened, or something that happened to the subscription.
#[derive(Clone, Debug)]
pub enum Event {
    /// This orchestrator serves the subscription from now on.
    Connected(Url),
    /// Nobody serves it; the next event is `Connected`. The text says why.
    Interrupted(String),
    /// Something may have been missed: ask again for whatever you show.
    Gap,
    /// A task changed.
    Task(TaskEvent),
    /// A worker changed, or was measured.
    Worker(Box<WorkerView>),
    /// The leader, a member or the counts changed.
    Cluster(Box<ClusterView>),
    /// Some container wrote a line.
    Log(Box<LogView>),
}

/// What an event can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A task changed.
    Task,
    /// A worker changed, or was measured.
    Worker,
    /// The leader, a member or the counts changed.
    Cluster,
    /// Some container wrote a line.
    Log,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Task, Self::Worker, Self::Cluster, Self::Log];

    fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Worker => "worker",
            Self::Cluster => "cluster",
            Self::Log => "log",
        }
    }
}

type Pieces = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

struct Subscription {
    client: Client,
    query: String,
    /// Who is asked next.
    place: usize,
    open: Option<(Url, Pieces, Reader)>,
    last_id: Option<String>,
    backoff: Backoff,
    failures: usize,
    ready: VecDeque<Event>,
}

impl Client {
    /// What happens from now on, of these types, without end. The stream resumes by itself after an
    /// interruption, at the next orchestrator if need be; [`Event::Gap`] says when that left a hole.
    pub fn events(&self, types: &[EventType]) -> impl Stream<Item = Event> + Send + use<> {
        let types: Vec<&str> = types.iter().map(|of| of.as_str()).collect();
        let subscription = Subscription {
            query: format!("types={}", types.join(",")),
            client: self.clone(),
            place: self.last_good(),
            open: None,
            last_id: None,
            backoff: Backoff::default(),
            failures: 0,
            ready: VecDeque::new(),
        };
        stream::unfold(subscription, |mut subscription| async move {
            let event = subscription.next().await;
            Some((event, subscription))
        })
    }

    async fn subscribe(&self, url: &Url, query: &str, last_id: Option<&str>) -> Result<Pieces, Setback> {
        let mut address = url.clone();
        address.set_path("/api/v1/events");
        address.set_query(Some(query));
        let mut request = self.inner.http.get(address).header(ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        match timeout(OPEN_WITHIN, request.send()).await {
            Err(_) => Err(Setback::Silent { url: url.clone(), waited: OPEN_WITHIN }),
            Ok(Err(source)) => Err(Setback::Unreachable { url: url.clone(), source: source.without_url() }),
            Ok(Ok(response)) if response.status().is_success() => Ok(Box::pin(response.bytes_stream())),
            Ok(Ok(response)) => Err(setback_of(url, response).await),
        }
    }
}

impl Subscription {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            match self.open.take() {
                None => self.connect().await,
                Some((url, pieces, reader)) => self.read(url, pieces, reader).await,
            }
        }
    }

    async fn connect(&mut self) {
        let orchestrators = self.client.orchestrators().len();
        if self.failures > 0 && self.failures.is_multiple_of(orchestrators) {
            tokio::time::sleep(self.backoff.pause(None)).await;
        }
        let (place, url) = self.client.nth(self.place);
        let url = url.clone();
        match self.client.subscribe(&url, &self.query, self.last_id.as_deref()).await {
            Ok(pieces) => {
                self.failures = 0;
                self.client.remember(place);
                self.open = Some((url.clone(), pieces, Reader::default()));
                self.ready.push_back(Event::Connected(url));
            }
            Err(setback) => self.interrupt(&setback),
        }
    }

    async fn read(&mut self, url: Url, mut pieces: Pieces, mut reader: Reader) {
        match timeout(SILENCE_LIMIT, pieces.next()).await {
            Ok(Some(Ok(piece))) => {
                self.backoff.reset();
                for raw in reader.read(&piece) {
                    self.last_id = raw.id.clone().or(self.last_id.take());
                    self.ready.extend(understand(&raw));
                }
                self.open = Some((url, pieces, reader));
            }
            Ok(Some(Err(source))) => {
                self.interrupt(&Setback::Unreachable { url, source: source.without_url() });
            }
            Ok(None) => self.interrupt(&Setback::Ended { url }),
            Err(_) => self.interrupt(&Setback::Silent { url, waited: SILENCE_LIMIT }),
        }
    }

    /// The next connection is tried elsewhere; only the first failure in a row is news.
    fn interrupt(&mut self, setback: &Setback) {
        if self.failures == 0 {
            self.ready.push_back(Event::Interrupted(setback.to_string()));
        }
        self.failures += 1;
        self.place += 1;
    }
}

/// An event of this version, `None` for one of a later version, a gap for one that cannot be read.
fn understand(raw: &RawEvent) -> Option<Event> {
    fn read<T: DeserializeOwned>(raw: &RawEvent, wrap: impl FnOnce(T) -> Event) -> Event {
        serde_json::from_str(&raw.data).map_or(Event::Gap, wrap)
    }
    match raw.name.as_str() {
        "task" => Some(read(raw, Event::Task)),
        "worker" => Some(read(raw, |worker| Event::Worker(Box::new(worker)))),
        "cluster" => Some(read(raw, |cluster| Event::Cluster(Box::new(cluster)))),
        "log" => Some(read(raw, |line| Event::Log(Box::new(line)))),
        "gap" => Some(Event::Gap),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(name: &str, data: &str) -> Option<Event> {
        understand(&RawEvent { name: name.into(), data: data.into(), id: None })
    }

    #[test]
    fn what_cannot_be_read_is_a_gap_and_what_is_unknown_is_passed_over() {
        assert!(matches!(understood("gap", "{}"), Some(Event::Gap)));
        assert!(matches!(understood("task", "{}"), Some(Event::Gap)));
        assert!(understood("weather", "{}").is_none());
        let id = clb_protocol::TaskId::now();
        let task = format!(
            r#"{{"id":"{id}","state":"running","worker":"worker-1","attempt":1,"group":null,"at":"2026-01-01T00:00:00Z"}}"#
        );
        assert!(matches!(understood("task", &task), Some(Event::Task(event)) if event.id == id));
    }
}
