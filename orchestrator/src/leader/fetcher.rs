//! Reads the specs of tasks that waited for long, on a thread of its own: the loop waits for no disk.
//!
//! What cannot be read is told, so that nothing counts as running that no worker was given.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use clb_core::input::LinkNo;
use clb_protocol::{AttemptNo, TaskId};
use clb_store::{Store, StoreError, Workload};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

/// How long a store that cannot be read is left alone.
const REST: Duration = Duration::from_millis(250);

/// An attempt that a worker is to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) link: LinkNo,
    pub(super) task: TaskId,
    pub(super) attempt: AttemptNo,
}

/// An attempt with what its worker has to know, or why that cannot be read.
pub(super) type Fetched = (Due, Result<Workload, StoreError>);

/// See the module. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Fetcher {
    wanted: blocking::Sender<Vec<Due>>,
    found: mpsc::UnboundedReceiver<Vec<Fetched>>,
}

impl Fetcher {
    /// Starts the thread.
    pub(super) fn start(store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (wanted, requests) = blocking::channel::<Vec<Due>>();
        let (answers, found) = mpsc::unbounded_channel();
        thread::Builder::new().name("specs".to_owned()).spawn(move || {
            for due in requests {
                if answers.send(fetch(&*store, due)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { wanted, found })
    }

    /// Asks for what these need. There are never more than the workers have slots.
    pub(super) fn fetch(&self, due: Vec<Due>) {
        // The thread lives as long as this does.
        drop(self.wanted.send(due));
    }

    /// Waits for the answer to a request; they come in the order of the requests.
    pub(super) async fn fetched(&mut self) -> Vec<Fetched> {
        match self.found.recv().await {
            Some(fetched) => fetched,
            None => std::future::pending().await,
        }
    }
}

fn fetch(store: &dyn Store, due: Vec<Due>) -> Vec<Fetched> {
    let ids: Vec<TaskId> = due.iter().map(|due| due.task).collect();
    let mut found: FxHashMap<TaskId, Workload> = match store.specs(&ids) {
        Ok(found) => found.into_iter().collect(),
        Err(error) if error.is_transient() => {
            thread::sleep(REST);
            FxHashMap::default()
        }
        // One of them cannot be read, and must not stand for the others.
        Err(_) => FxHashMap::default(),
    };
    let mut answer = |due: Due| match found.remove(&due.task) {
        Some(workload) => (due, Ok(workload)),
        None => (due, fetch_one(store, due.task)),
    };
    due.into_iter().map(&mut answer).collect()
}

fn fetch_one(store: &dyn Store, task: TaskId) -> Result<Workload, StoreError> {
    let missing = || StoreError::Corrupt { detail: format!("task {task} is not there") };
    store.specs(&[task])?.pop().map(|(_, workload)| workload).ok_or_else(missing)
}
