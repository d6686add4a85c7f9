//! Keeps the lease, on a thread of its own: whatever the leader does, it shows that it lives. It waits for no inbox,
//! no commit, no reading of the store and no log line.
//!
//! It ends with the term, and is the first to know when another one has begun. A leader whose loop does not turn
//! any more is given up, so that another can take over.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use clb_core::lease::RENEWAL;
use clb_protocol::Epoch;
use clb_store::{Store, StoreError};
use tokio::sync::watch;

use super::watchdog::Watchdog;

/// See the module. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    watchdog: Arc<Watchdog>,
    fenced: watch::Receiver<Option<Epoch>>,
    /// Nothing is ever sent: its end is the news.
    _life: mpsc::Sender<()>,
}

impl Keeper {
    /// Keeps the lease of this term from now on.
    pub(crate) fn start(store: Arc<dyn Store>, epoch: Epoch) -> std::io::Result<Self> {
        let watchdog = Arc::<Watchdog>::default();
        let (news, fenced) = watch::channel(None);
        let (life, ended) = mpsc::channel();
        let guarded = Arc::clone(&watchdog);
        thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || keep(&*store, epoch, &guarded, &news, &ended))?;
        Ok(Self { watchdog, fenced, _life: life })
    }

    /// What the loop has to kick.
    pub(crate) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.watchdog
    }

    /// Waits until another term has begun, and says which.
    pub(super) async fn fenced(&mut self) -> Epoch {
        match self.fenced.wait_for(Option::is_some).await.map(|epoch| *epoch) {
            Ok(Some(epoch)) => epoch,
            // The thread has ended otherwise: the next commit will tell.
            _ => std::future::pending().await,
        }
    }
}

fn keep(
    store: &dyn Store,
    epoch: Epoch,
    watchdog: &Watchdog,
    news: &watch::Sender<Option<Epoch>>,
    ended: &mpsc::Receiver<()>,
) {
    let mut complaint = String::new();
    loop {
        let trouble = if watchdog.is_overdue() {
            "the leader's loop does not turn any more".to_owned()
        } else {
            match store.renew(epoch) {
                Ok(()) => String::new(),
                Err(StoreError::Fenced { current }) => {
                    let _ = news.send(Some(current));
                    return;
                }
                Err(error) => error.to_string(),
            }
        };
        if !trouble.is_empty() && trouble != complaint {
            tracing::error!("the lease of epoch {epoch} is not renewed: {trouble}");
        }
        complaint = trouble;
        if ended.recv_timeout(RENEWAL) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clb_protocol::Timestamp;
    use clb_store::sqlite::SqliteStore;
    use clb_store::{Claim, Reader};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A store that is there, for somebody has asked who leads.
    fn place() -> (tempfile::TempDir, Arc<SqliteStore>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::new(&folder.path().join("clb.db")));
        assert_eq!(store.lease().unwrap(), None);
        (folder, store)
    }

    fn claim() -> Claim {
        Claim { holder: "one".into(), url: String::new(), public_url: String::new() }
    }

    fn beaten_at(store: &SqliteStore) -> Option<Timestamp> {
        store.lease().unwrap().unwrap().pulse.map(|pulse| pulse.at)
    }

    fn wait_for_a_beat_after(store: &SqliteStore, former: Option<Timestamp>) -> Option<Timestamp> {
        loop {
            let beaten_at = beaten_at(store);
            if beaten_at != former {
                return beaten_at;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn the_lease_is_renewed_while_a_commit_holds_the_store() {
        let (_folder, store) = place();
        let epoch = store.acquire(&claim(), Epoch(0)).unwrap();
        let held = store.hold_the_lock(|| {
            let _keeper = Keeper::start(Arc::clone(&store) as Arc<dyn Store>, epoch).unwrap();
            let first = wait_for_a_beat_after(&store, None);
            wait_for_a_beat_after(&store, first);
        });
        held.unwrap();
    }

    #[tokio::test]
    async fn the_keeper_tells_when_another_term_has_begun() {
        let (_folder, store) = place();
        let epoch = store.acquire(&claim(), Epoch(0)).unwrap();
        let mut keeper = Keeper::start(Arc::clone(&store) as Arc<dyn Store>, epoch).unwrap();
        store.acquire(&claim(), epoch).unwrap();
        assert_eq!(timeout(PATIENCE, keeper.fenced()).await.unwrap(), epoch.next());
    }
}
