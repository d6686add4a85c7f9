//! What a term begins with.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use clb_core::input::Restored;
use clb_core::{Cluster, Config, Restoration};
use clb_protocol::{Epoch, SubmissionSeq};
use clb_store::{OpenTask, Store, StoreError};

use super::feed::Feed;
use super::watchdog::Watchdog;
use crate::clock;

/// How many tasks are read from the store at once.
const AT_ONCE: usize = 10_000;

type Page = Result<Vec<OpenTask>, StoreError>;

/// Reads every open task, page by page, so that none is held twice. The next page is read while one is taken in.
pub(super) fn restore(
    config: Config,
    recovered: Restored,
    store: &dyn Store,
    feed: &Feed,
    watchdog: &Watchdog,
) -> Result<Cluster, StoreError> {
    let epoch = recovered.epoch;
    let restoration = Restoration::begin(config, recovered, clock::now());
    thread::scope(|scope| {
        let (read, pages) = sync_channel(1);
        scope.spawn(move || read_pages(store, epoch, &read));
        take_in(restoration, &pages, feed, watchdog)
    })
}

/// Ends when all is read, after an error, or when nobody takes the pages any more.
fn read_pages(store: &dyn Store, epoch: Epoch, pages: &SyncSender<Page>) {
    let mut after = SubmissionSeq(0);
    loop {
        let page = store.open_tasks(epoch, after, AT_ONCE);
        let last = page.as_ref().ok().and_then(|page| page.last()).map(|last| last.task.seq);
        if pages.send(page).is_err() {
            return;
        }
        match last {
            Some(last) => after = last,
            None => return,
        }
    }
}

fn take_in(
    mut restoration: Restoration,
    pages: &Receiver<Page>,
    feed: &Feed,
    watchdog: &Watchdog,
) -> Result<Cluster, StoreError> {
    for page in pages {
        watchdog.kick();
        let now = clock::now();
        for OpenTask { task, group } in page? {
            if let Some(group) = group {
                feed.resume(task.id, &group);
            }
            restoration.add(task, now);
        }
    }
    Ok(restoration.finish(clock::now()))
}
