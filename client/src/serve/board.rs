//! What the page shows of the cluster besides the payloads, always the latest; and the bell that
//! rings when a payload changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use clb_client::protocol::api::{ClusterView, WorkerView};
use clb_client::protocol::{PoolName, SlotNo};
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether anybody answers.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// Nobody has answered yet.
    Searching { since: Instant },
    /// Somebody serves the subscription.
    Reached,
    /// Nobody answers any more.
    Lost { since: Instant, reason: Arc<str> },
}

/// The cluster as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) reach: Reach,
    pub(crate) cluster: Option<Arc<ClusterView>>,
    pub(crate) workers: BTreeMap<(PoolName, SlotNo), Arc<WorkerView>>,
}

/// One writer, many readers; each reader sees the latest and is told when it changed.
#[derive(Debug)]
pub(crate) struct Board {
    picture: watch::Sender<Picture>,
    tasks: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        let reach = Reach::Searching { since: Instant::now() };
        let picture = Picture { reach, cluster: None, workers: BTreeMap::new() };
        Self { picture: watch::Sender::new(picture), tasks: watch::Sender::new(0) }
    }
}

impl Board {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Picture)) {
        self.picture.send_modify(change);
    }

    /// Shows the same again, for what depends on the time.
    pub(crate) fn show_again(&self) {
        self.picture.send_modify(|_| {});
    }

    pub(crate) fn picture(&self) -> Picture {
        self.picture.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Picture> {
        self.picture.subscribe()
    }

    /// Tells that a payload has changed.
    pub(crate) fn ring(&self) {
        self.tasks.send_modify(|rings| *rings += 1);
    }

    /// How often it rang.
    pub(crate) fn rings(&self) -> u64 {
        *self.tasks.borrow()
    }

    pub(crate) fn watch_tasks(&self) -> watch::Receiver<u64> {
        self.tasks.subscribe()
    }
}
