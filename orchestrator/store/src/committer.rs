//! Where a leader's commits happen, one at a time and in order: on a thread of their own, or at once.
//!
//! A thread of its own lets the leader go on while the disk works, and costs two changes of threads, which on an idle
//! machine take as long as the disk. So what is small is written at once when nobody else waits for the leader
//! ([`Committer::commit_at_once`]), as long as the disk is quick: the first slow write is the last one that the leader
//! waits for, until the disk has shown on the other thread that it is quick again.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clb_protocol::Epoch;
use tokio::sync::oneshot;

use super::{Batch, Committed, Result, Store};

/// The disk is quick when the last commit took no longer.
const QUICK: Duration = Duration::from_millis(3);

/// The end of a commit.
#[derive(Debug)]
pub struct Done {
    /// What was to be committed; after a transient error it can be tried again.
    pub batch: Batch,
    /// What became of it.
    pub result: Result<Committed>,
    /// How long it took.
    pub took: Duration,
}

/// Commits the batches of one term. The thread ends when this is dropped and all is committed.
pub struct Committer {
    store: Arc<dyn Store>,
    epoch: Epoch,
    requests: mpsc::Sender<(Batch, oneshot::Sender<Done>)>,
    /// Whether the last commit was quick.
    is_quick: Cell<bool>,
}

impl Committer {
    /// Starts the thread for the term `epoch`.
    pub fn start(store: Arc<dyn Store>, epoch: Epoch) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<(Batch, oneshot::Sender<Done>)>();
        let committing = Arc::clone(&store);
        thread::Builder::new().name("store-commits".into()).spawn(move || {
            for (batch, reply) in inbox {
                let began = Instant::now();
                let result = committing.commit(epoch, &batch);
                // A leader that stepped down no longer listens.
                drop(reply.send(Done { batch, result, took: began.elapsed() }));
            }
        })?;
        Ok(Self { store, epoch, requests, is_quick: Cell::new(false) })
    }

    /// Queues a batch. The receiver fails only when the thread is gone.
    pub fn commit(&self, batch: Batch) -> oneshot::Receiver<Done> {
        let (reply, done) = oneshot::channel();
        // A batch that cannot be queued drops its reply, which the receiver sees.
        drop(self.requests.send((batch, reply)));
        done
    }

    /// Commits a batch on this thread, or queues it where that could take long. No other commit may be under way.
    pub fn commit_at_once(&self, batch: Batch) -> oneshot::Receiver<Done> {
        if !self.is_quick.get() {
            return self.commit(batch);
        }
        let began = Instant::now();
        let Some(result) = self.store.commit_at_once(self.epoch, &batch) else { return self.commit(batch) };
        let (reply, done) = oneshot::channel();
        drop(reply.send(Done { batch, result, took: began.elapsed() }));
        done
    }

    /// Learns from a commit how quick the disk is.
    pub fn observe(&self, done: &Done) {
        self.is_quick.set(done.result.is_ok() && done.took <= QUICK);
    }
}
