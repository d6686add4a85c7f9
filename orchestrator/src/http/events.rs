//! `GET /api/v1/events`: what changes, as server-sent events.
//!
//! Tasks and log lines come from the term's feed and have ids, so that a caller that was cut off goes on
//! where it was. Workers and the cluster are states: they are sent whole when they change, twice a second
//! at most, and again on every new connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use clb_protocol::api::{ClusterView, WorkerView};
use futures::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Door;
use super::problem::Refusal;
use super::system::{Query, view};
use crate::leader::{Feed, frame};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const STATES_EVERY: Duration = Duration::from_millis(500);
/// After how long without an event a comment shows that the connection lives.
const COMMENT_AFTER: Duration = Duration::from_secs(1);

struct Listener {
    door: Door,
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    cursor: u64,
    gap: bool,
    states: Interval,
    cluster: Option<ClusterView>,
    workers: BTreeMap<String, WorkerView>,
    said_at: Instant,
}

pub(super) async fn stream(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    Query::parse(query.as_deref())?.finish()?;
    let (feed, news) = door.leader()?.events();
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let resumed = last.map(|id| feed.after(id));
    let mut states = interval(STATES_EVERY);
    states.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        cursor: resumed.flatten().unwrap_or_else(|| feed.end()),
        gap: resumed == Some(None),
        door,
        feed,
        news,
        states,
        cluster: None,
        workers: BTreeMap::new(),
        said_at: Instant::now(),
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let piece = listener.next().await?;
        Some((Ok::<_, Infallible>(piece), listener))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Listener {
    /// The next events; `None` when the term is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut text = BytesMut::new();
            self.news.mark_unchanged();
            let piece = self.feed.read(&mut self.cursor);
            if std::mem::take(&mut self.gap) || piece.has_gap {
                let id = self.feed.id_before(self.cursor - piece.frames.len() as u64);
                text.extend_from_slice(&frame("gap", Some(&id), &json!({})));
            }
            for event in &piece.frames {
                text.extend_from_slice(event);
            }
            if text.is_empty() {
                tokio::select! {
                    changed = self.news.changed() => {
                        changed.ok()?;
                        continue;
                    }
                    _ = self.states.tick() => self.add_states(&mut text).await?,
                }
            }
            if text.is_empty() && self.said_at.elapsed() >= COMMENT_AFTER {
                text.extend_from_slice(b":\n\n");
            }
            if !text.is_empty() {
                self.said_at = Instant::now();
                return Some(text.freeze());
            }
        }
    }

    /// Adds the states that changed.
    async fn add_states(&mut self, text: &mut BytesMut) -> Option<()> {
        let (cluster, workers) = view(&self.door).await.ok()?;
        for worker in workers {
            if self.workers.get(&worker.name) != Some(&worker) {
                text.extend_from_slice(&frame("worker", None, &worker));
                self.workers.insert(worker.name.clone(), worker);
            }
        }
        if self.cluster.as_ref() != Some(&cluster) {
            text.extend_from_slice(&frame("cluster", None, &cluster));
            self.cluster = Some(cluster);
        }
        Some(())
    }
}
