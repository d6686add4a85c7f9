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
