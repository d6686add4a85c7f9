//! Seeking the leader: all orchestrators are asked at the same time, the first welcome wins.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clb_protocol::Epoch;
use clb_protocol::link::Welcome;
use http::HeaderValue;
use tokio::task::{Id, JoinSet};

use super::Link;
use super::ask::{AskError, ask};
use super::search::{Search, pause};

/// A leader that welcomed the worker.
#[derive(Debug)]
pub(crate) struct Found {
    /// The open link.
    pub(crate) link: Link,
    /// Its first line.
    pub(crate) welcome: Welcome,
}

/// What is sought, and how.
#[derive(Clone, Debug)]
pub(crate) struct Quest {
    /// Base URLs of all orchestrators that are known.
    pub(crate) urls: Vec<String>,
    /// One of them that is not to be asked.
    pub(crate) avoid: Option<String>,
    /// The first line for the leader.
    pub(crate) hello: Bytes,
    /// The `Authorization` of the cluster.
    pub(crate) authorization: Option<HeaderValue>,
    /// Leaders of an older term are passed over.
    pub(crate) fence: Epoch,
    /// How many links in a row ended as soon as they stood: the search begins after a pause.
    pub(crate) failures: u32,
}

/// Asks until somebody welcomes the worker. To be dropped when it is no longer wanted.
pub(crate) async fn seek(quest: Quest) -> Found {
    let first = if quest.failures == 0 { Duration::ZERO } else { pause(quest.failures, spread()) };
    let mut search = Search::new(quest.urls.clone(), quest.avoid.clone(), Instant::now() + first);
    let mut asks = JoinSet::new();
    let mut asked: HashMap<Id, String> = HashMap::new();
    let mut complaints = Complaints::default();
    loop {
        for url in search.take_due(Instant::now()) {
            let quest = quest.clone();
            let target = url.clone();
            let task = asks.spawn(async move {
                ask(&target, quest.hello, quest.authorization.as_ref(), quest.fence).await
            });
            asked.insert(task.id(), url);
        }
        let next_due = search.next_due();
        tokio::select! {
            Some(answer) = asks.join_next_with_id() => {
                let (id, answer) = match answer {
                    Ok((id, answer)) => (id, answer.map_err(Some)),
                    // A panic while asking: nothing is known but that it failed.
                    Err(error) => (error.id(), Err(None)),
                };
                let url = asked.remove(&id).unwrap_or_default();
                match answer {
                    Ok((link, welcome)) => return Found { link, welcome },
                    Err(Some(AskError::Misdirected { leader })) => {
                        search.handle_misdirected(&url, &leader, Instant::now(), spread());
                    }
                    Err(error) => {
                        complaints.complain(&url, error);
                        search.handle_failure(&url, Instant::now(), spread());
                    }
                }
            }
            () = sleep_until(next_due) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// From 0 to 1, another one each time.
fn spread() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}

/// Says a reason once, not at each try.
#[derive(Default)]
struct Complaints(BTreeMap<String, String>);

impl Complaints {
    fn complain(&mut self, url: &str, error: Option<AskError>) {
        let why = error.map_or_else(|| "asking it failed".to_owned(), |error| error.to_string());
        if self.0.get(url) != Some(&why) {
            tracing::info!("No link to {url}: {why}");
            self.0.insert(url.to_owned(), why);
        }
    }
}
