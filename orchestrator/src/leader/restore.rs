//! What a term begins with.

use clb_core::input::Restored;
use clb_core::{Cluster, Config, Restoration};
use clb_protocol::SubmissionSeq;

use super::feed::Feed;
use super::watchdog::Watchdog;
use crate::clock;
use crate::store::{OpenTask, Store, StoreError};

/// How many tasks are read from the store at once.
const AT_ONCE: usize = 10_000;

/// Reads every open task, page by page, so that none is held twice.
pub(super) fn restore(
    config: Config,
    recovered: Restored,
    store: &dyn Store,
    feed: &Feed,
    watchdog: &Watchdog,
) -> Result<Cluster, StoreError> {
    let epoch = recovered.epoch;
    let mut restoration = Restoration::begin(config, recovered, clock::now());
    let mut after = SubmissionSeq(0);
    loop {
        watchdog.kick();
        let page = store.open_tasks(epoch, after, AT_ONCE)?;
        let Some(last) = page.last() else { return Ok(restoration.finish(clock::now())) };
        after = last.task.seq;
        let now = clock::now();
        for OpenTask { task, group } in page {
            if let Some(group) = group {
                feed.resume(task.id, &group);
            }
            restoration.add(task, now);
        }
    }
}
