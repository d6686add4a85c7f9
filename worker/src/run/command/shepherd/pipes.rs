//! The three pipes of a program, all moved at the same time so that none waits for another.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use clb_protocol::task::{Output, OutputStream};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::output::Tape;
use super::program::Started;
use super::progress::Scanner;

/// So much is read at once: what a pipe holds.
const PIECE_BYTES: usize = 64 * 1024;
/// A pipe that somebody outside of the task still writes to is read no further than this at the end.
const LAST_PIECES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Pipes<'a> {
    stdin: Option<Sender>,
    unread: &'a [u8],
    stdout: Reader,
    stderr: Reader,
    progress: Scanner,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Reader {
    pipe: Option<Receiver>,
    tape: Tape,
}

impl<'a> Pipes<'a> {
    /// Takes a program's pipes over.
    pub(super) fn new(started: &mut Started, stdin: &'a [u8]) -> io::Result<Self> {
        Ok(Self {
            stdin: started.stdin.take().map(|pipe| Sender::from_owned_fd(pipe.into())).transpose()?,
            unread: stdin,
            stdout: Reader::new(started.stdout.take().map(OwnedFd::from))?,
            stderr: Reader::new(started.stderr.take().map(OwnedFd::from))?,
            progress: Scanner::default(),
            buffer: vec![0; PIECE_BYTES],
        })
    }

    /// Moves something through one of the pipes; never comes back once all are closed. May be given up
    /// at any time.
    pub(super) async fn flow(&mut self) {
        tokio::select! {
            () = writable(self.stdin.as_ref()) => self.feed(),
            () = readable(self.stdout.pipe.as_ref()) => {
                let length = self.stdout.read(&mut self.buffer);
                self.progress.feed(&self.buffer[..length]);
            }
            () = readable(self.stderr.pipe.as_ref()) => drop(self.stderr.read(&mut self.buffer)),
        }
    }

    /// What was written so far.
    pub(super) fn tape(&self, stream: OutputStream) -> &Tape {
        match stream {
            OutputStream::Stdout => &self.stdout.tape,
            OutputStream::Stderr => &self.stderr.tape,
        }
    }

    /// What the program tells of its progress.
    pub(super) fn progress(&mut self) -> &mut Scanner {
        &mut self.progress
    }

    /// Everything that was written, once nobody is left to write.
    pub(super) fn finish(mut self) -> (Output, Output) {
        let stdout = self.stdout.finish(&mut self.buffer);
        (stdout, self.stderr.finish(&mut self.buffer))
    }

    fn feed(&mut self) {
        let Some(pipe) = &self.stdin else { return };
        match pipe.try_write(self.unread) {
            Ok(written) => self.unread = &self.unread[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It does not want to read any more, which is its right.
            Err(_) => self.unread = &[],
        }
        if self.unread.is_empty() {
            self.stdin = None;
        }
    }
}

impl Reader {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self { pipe: pipe.map(Receiver::from_owned_fd).transpose()?, tape: Tape::default() })
    }

    /// How many bytes came; they are at the beginning of the buffer.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        match pipe.try_read(buffer) {
            Ok(length) if length > 0 => {
                self.tape.push(&buffer[..length]);
                return length;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.pipe = None,
        }
        0
    }

    /// Reads what the pipe still holds, which the runtime may not have been told of yet.
    fn finish(mut self, buffer: &mut [u8]) -> Output {
        if let Some(Ok(pipe)) = self.pipe.take().map(Receiver::into_nonblocking_fd) {
            let mut pipe = File::from(pipe);
            for _ in 0..LAST_PIECES {
                match pipe.read(buffer) {
                    Ok(length) if length > 0 => self.tape.push(&buffer[..length]),
                    Ok(_) | Err(_) => break,
                }
            }
        }
        self.tape.finish()
    }
}

async fn readable(pipe: Option<&Receiver>) {
    match pipe {
        // What is wrong with it is seen when it is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

async fn writable(pipe: Option<&Sender>) {
    match pipe {
        Some(pipe) => drop(pipe.writable().await),
        None => std::future::pending().await,
    }
}
