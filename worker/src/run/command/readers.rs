//! Who waits, on the worker's side, for a piece of a running program's outputs.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::oneshot;

use super::Piece;

/// The questions on their way, by number.
#[derive(Debug, Default)]
pub(super) struct Readers {
    waiting: BTreeMap<u64, oneshot::Sender<Option<Piece>>>,
    last: u64,
}

impl Readers {
    /// Gives a question its number.
    pub(super) fn add(&mut self, reader: oneshot::Sender<Option<Piece>>) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, reader);
        self.last
    }

    pub(super) fn answer(&mut self, number: u64, piece: Piece) {
        if let Some(reader) = self.waiting.remove(&number) {
            // One that went away misses nothing.
            let _ = reader.send(Some(piece));
        }
    }

    /// The next who goes away without an answer; never, while all wait. May be given up at any time.
    pub(super) async fn gone(&mut self) -> u64 {
        let number = poll_fn(|cx| {
            let mut waiting = self.waiting.iter_mut();
            let gone =
                waiting.find_map(|(number, reader)| reader.poll_closed(cx).is_ready().then_some(*number));
            gone.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.waiting.remove(&number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_goes_away_is_named_once_and_is_not_kept() {
        let mut readers = Readers::default();
        let (stays, mut answer) = oneshot::channel();
        let (leaves, gone) = oneshot::channel();
        assert_eq!((readers.add(stays), readers.add(leaves)), (1, 2));
        let (number, ()) = tokio::join!(readers.gone(), async { drop(gone) });
        assert_eq!(number, 2);
        assert_eq!(readers.waiting.len(), 1);
        readers.answer(2, piece());
        readers.answer(1, piece());
        assert_eq!(answer.try_recv().unwrap(), Some(piece()));
        assert!(readers.waiting.is_empty());
    }

    fn piece() -> Piece {
        Piece { at: 0, bytes: Vec::new(), written: 0, is_last: false }
    }
}
