//! `GET /api/v1/events`: what changes, as server-sent events.
//!
//! Tasks and log lines come from the term's feed and have ids, so that a caller that was cut off goes on
//! where it was. Workers and the cluster are states: they are sent whole when they change, twice a second
//! at most, and again on every new connection. `?types=task,cluster` leaves the other ones out.

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
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Door;
use super::problem::Refusal;
use super::system::{Query, view};
use crate::leader::{Feed, Wanted, frame};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const STATES_EVERY: Duration = Duration::from_millis(500);
/// After how long without an event a comment shows that the connection lives.
const COMMENT_AFTER: Duration = Duration::from_secs(1);

/// How many may listen at once.
pub(super) const MOST_LISTENERS: usize = 256;

/// The types of events.
const TYPES: [&str; 4] = ["task", "worker", "cluster", "log"];

struct Listener {
    door: Door,
    types: Vec<String>,
    wanted: Wanted,
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    cursor: u64,
    gap: bool,
    states: Interval,
    cluster: Option<ClusterView>,
    workers: BTreeMap<String, WorkerView>,
    said_at: Instant,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn stream(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let types = types(query.text("types"))?;
    query.finish()?;
    let permit = Arc::clone(&door.listeners).try_acquire_owned().map_err(|_| too_many())?;
    let (feed, news) = door.leader()?.events();
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let resumed = last.map(|id| feed.after(id));
    let mut states = interval(STATES_EVERY);
    states.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        cursor: resumed.flatten().unwrap_or_else(|| feed.end()),
        gap: resumed == Some(None),
        wanted: Wanted { tasks: has(&types, "task"), logs: has(&types, "log") },
        types,
        door,
        feed,
        news,
        states,
        cluster: None,
        workers: BTreeMap::new(),
        said_at: Instant::now(),
        _permit: permit,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let piece = listener.next().await?;
        Some((Ok::<_, Infallible>(piece), listener))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn too_many() -> Refusal {
    Refusal::too_many(format!("{MOST_LISTENERS} clients are already listening to events; try again later."))
}

fn types(text: Option<String>) -> Result<Vec<String>, Refusal> {
    let Some(text) = text else { return Ok(TYPES.map(str::to_owned).to_vec()) };
    let types: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if types.iter().all(|name| TYPES.contains(&name.as_str())) {
        Ok(types)
    } else {
        Err(Refusal::parameter("types", "must be some of task, worker, cluster, log"))
    }
}

fn has(types: &[String], name: &str) -> bool {
    types.iter().any(|wanted| wanted == name)
}

impl Listener {
    /// The next events; `None` when the term is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut text = BytesMut::new();
            self.news.mark_unchanged();
            if std::mem::take(&mut self.gap) {
                self.feed.write_gap(self.cursor, &mut text);
            }
            let has_more = self.feed.read(&mut self.cursor, self.wanted, &mut text);
            if text.is_empty() && has_more {
                continue;
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
                if has(&self.types, "worker") {
                    frame(text, "worker", None, &worker);
                }
                self.workers.insert(worker.name.clone(), worker);
            }
        }
        if self.cluster.as_ref() != Some(&cluster) {
            if has(&self.types, "cluster") {
                frame(text, "cluster", None, &cluster);
            }
            self.cluster = Some(cluster);
        }
        Some(())
    }
}
