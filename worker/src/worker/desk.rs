//! What others in the process may ask of the worker: its pages, and the signals that end it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::agent::View;
use crate::run::AttemptKey;
use crate::run::command::{Piece, Read};

/// Asks that wait; more callers wait for room.
const ASKS_AHEAD: usize = 16;

/// One question or wish.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Flip the simulated crash; the answer is whether it is on now.
    Flip(oneshot::Sender<bool>),
    /// Say how things stand.
    View(oneshot::Sender<View>),
    /// Give a piece of what an attempt wrote.
    Read(Question),
    /// Hand everything over and end.
    Leave,
}

/// A question about the outputs of an attempt.
#[derive(Debug)]
pub(crate) struct Question {
    /// Which attempt.
    pub(crate) key: AttemptKey,
    /// What is wanted.
    pub(crate) read: Read,
    /// `None` for an attempt that is not known here; dropped when it ended before there was an answer.
    pub(crate) reply: oneshot::Sender<Option<Piece>>,
}

/// The worker is ending and answers nobody any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the worker is ending")]
pub(crate) struct DeskClosed;

/// Where to ask.
#[derive(Clone, Debug)]
pub(crate) struct Desk(mpsc::Sender<Ask>);

impl Desk {
    /// A desk, and the worker's side of it.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, desk) = mpsc::channel(ASKS_AHEAD);
        (Self(asks), desk)
    }

    /// Flips the simulated crash; tells whether it is on now.
    pub(crate) async fn flip(&self) -> Result<bool, DeskClosed> {
        self.ask(Ask::Flip).await
    }

    /// How things stand.
    pub(crate) async fn view(&self) -> Result<View, DeskClosed> {
        self.ask(Ask::View).await
    }

    /// A piece of what an attempt wrote; `None` when the attempt is not known here.
    pub(crate) async fn read(&self, key: AttemptKey, read: Read) -> Result<Option<Piece>, DeskClosed> {
        loop {
            let (reply, answered) = oneshot::channel();
            self.0.send(Ask::Read(Question { key, read, reply })).await.map_err(|_| DeskClosed)?;
            if let Ok(answer) = answered.await {
                return Ok(answer);
            }
        }
    }

    /// Has the worker hand everything over and end.
    pub(crate) async fn leave(&self) -> Result<(), DeskClosed> {
        self.0.send(Ask::Leave).await.map_err(|_| DeskClosed)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, DeskClosed> {
        let (answer, answered) = oneshot::channel();
        self.0.send(question(answer)).await.map_err(|_| DeskClosed)?;
        answered.await.map_err(|_| DeskClosed)
    }
}

/// From now on SIGTERM and SIGINT ask the worker to leave. The first process of a container would
/// otherwise not even notice them.
pub(crate) fn leave_on_signal(desk: Desk) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if desk.leave().await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
