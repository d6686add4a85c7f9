//! The thread on which a leader's commits happen, one at a time and in order.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use clb_protocol::Epoch;
use tokio::sync::oneshot;

use super::{Batch, Committed, Result, Store};

/// The end of a commit.
#[derive(Debug)]
pub(crate) struct Done {
    /// What was to be committed; after a transient error it can be tried again.
    pub(crate) batch: Batch,
    /// What became of it.
    pub(crate) result: Result<Committed>,
}

/// Commits the batches of one term. The thread ends when this is dropped and all is committed.
#[derive(Debug)]
pub(crate) struct Committer {
    requests: mpsc::Sender<(Batch, oneshot::Sender<Done>)>,
}

impl Committer {
    /// Starts the thread for the term `epoch`.
    pub(crate) fn start(store: Arc<dyn Store>, epoch: Epoch) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<(Batch, oneshot::Sender<Done>)>();
        thread::Builder::new().name("store-commits".into()).spawn(move || {
            for (batch, reply) in inbox {
                let result = store.commit(epoch, &batch);
                // A leader that stepped down no longer listens.
                drop(reply.send(Done { batch, result }));
            }
        })?;
        Ok(Self { requests })
    }

    /// Queues a batch. The receiver fails only when the thread is gone.
    pub(crate) fn commit(&self, batch: Batch) -> oneshot::Receiver<Done> {
        let (reply, done) = oneshot::channel();
        // A batch that cannot be queued drops its reply, which the receiver sees.
        drop(self.requests.send((batch, reply)));
        done
    }
}
