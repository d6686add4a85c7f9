//! A cluster that several tests use at the same time; the last one to go removes it.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::{Cluster, Setup, WorkerKind};

/// A test's share in the common cluster.
#[derive(Debug)]
pub struct Shared(Arc<Cluster>);

impl Shared {
    pub(super) async fn get() -> Self {
        static COMMON: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        let mut common = COMMON.lock().await;
        if let Some(cluster) = common.upgrade() {
            return Self(cluster);
        }
        let cluster = Arc::new(Setup::new().kind(WorkerKind::WithFixture).start().await);
        *common = Arc::downgrade(&cluster);
        Self(cluster)
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() && Arc::strong_count(&self.0) > 1 {
            self.0.tell_all();
        }
    }
}
