//! Pages of payloads as the cluster lists them, fetched as seldom as the news allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clb_client::protocol::Timestamp;
use clb_client::protocol::api::{TaskPage, TaskState};
use clb_client::{Error, TaskFilter};

use super::App;
use super::board::Reach;

/// Payloads on one page.
const PAGE: u32 = 50;
/// How long a browser waits for a page before it is told that nobody answers ...
const PATIENCE: Duration = Duration::from_secs(3);
/// ... and when that is known already.
const PATIENCE_IN_OUTAGE: Duration = Duration::from_millis(300);

/// Which part of the payloads a browser looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: Option<TaskState>,
    pub(crate) cursor: Option<String>,
}

/// A page of payloads and when it was true.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) page: Arc<TaskPage>,
    pub(crate) at: Timestamp,
    /// The same, to tell how long ago that is.
    pub(crate) read_at: Instant,
    /// How often the bell had rung before it was asked for.
    rings: u64,
}

/// The newest payloads, which most browsers look at, are asked for once for all of them.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    newest: Mutex<Option<Listing>>,
    /// Held while the newest payloads are asked for after news.
    asking: tokio::sync::Mutex<()>,
}

impl Listings {
    /// The newest payloads as they were when somebody answered last.
    pub(crate) fn last_known(&self) -> Option<Listing> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, listing: &Listing) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(listing.clone());
    }
}

impl App {
    /// The page that `view` asks for, as the cluster has it now.
    pub(crate) async fn list(&self, view: &View) -> Result<Listing, Error> {
        let rings = self.board.rings();
        let cursor = view.cursor.clone();
        let filter = TaskFilter { state: view.state, cursor, limit: Some(PAGE), ..TaskFilter::default() };
        let is_reached = matches!(self.board.picture().reach, Reach::Reached);
        let patience = if is_reached { PATIENCE } else { PATIENCE_IN_OUTAGE };
        let page = self.client.with_patience(patience).tasks(&filter).await?;
        let listing = Listing { page: Arc::new(page), at: Timestamp::now(), read_at: Instant::now(), rings };
        if *view == View::default() {
            self.listings.remember(&listing);
        }
        Ok(listing)
    }

    /// The same for a browser that heard the bell: what was asked for since it rang is good enough.
    pub(crate) async fn list_after_news(&self, view: &View) -> Result<Listing, Error> {
        if *view != View::default() {
            return self.list(view).await;
        }
        let rings = self.board.rings();
        let _asking = self.listings.asking.lock().await;
        match self.listings.last_known().filter(|listing| listing.rings >= rings) {
            Some(listing) => Ok(listing),
            None => self.list(view).await,
        }
    }
}
