//! Who waits for more of a running program's outputs.

use std::io;

use clb_protocol::link::Yield;

use super::pipes::Pipes;
use crate::run::command::wire::Wire;
use crate::run::command::{Read, Said};

/// The questions that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<(u64, Read)>);

impl Listeners {
    pub(super) fn add(&mut self, number: u64, read: Read) {
        self.0.push((number, read));
    }

    /// Lets go of one that does not wait any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.0.retain(|(other, _)| *other != number);
    }

    /// Answers those for whom there is something, and those who do not wait.
    pub(super) async fn answer(&mut self, pipes: &Pipes<'_>, wire: &mut Wire) -> io::Result<()> {
        let is_due =
            |(_, read): &mut (u64, Read)| !read.waits || pipes.tape(read.stream).written() > read.from;
        for (number, read) in self.0.extract_if(.., is_due) {
            let piece = pipes.tape(read.stream).piece(read.from);
            wire.say(&Said::<Yield>::Piece { number, piece }).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clb_protocol::task::OutputStream;

    use super::*;

    #[test]
    fn who_went_away_is_let_go_and_the_others_wait_on() {
        let mut listeners = Listeners::default();
        let read = Read { stream: OutputStream::Stdout, from: 0, waits: true };
        for number in 1..=3 {
            listeners.add(number, read);
        }
        listeners.forget(2);
        listeners.forget(2);
        assert_eq!(listeners.0, [(1, read), (3, read)]);
    }
}
