#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::*;

/// Longer than anything here takes on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reader who takes one write whenever he is asked to.
struct Reader {
    began: Receiver<()>,
    go_on: Sender<()>,
    read: Receiver<String>,
}

struct Pipe {
    begins: Sender<()>,
    go_on: Receiver<()>,
    read: Sender<String>,
}

impl Write for Pipe {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.begins.send(()).map_err(io::Error::other)?;
        self.go_on.recv().map_err(io::Error::other)?;
        self.read.send(String::from_utf8_lossy(text).into_owned()).map_err(io::Error::other)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    fn new() -> (Outlet, Self) {
        let (begins, began) = channel();
        let (go_on, waits) = channel();
        let (read, reads) = channel();
        let pipe = Mutex::new(Some(Pipe { begins, go_on: waits, read }));
        let outlet = Outlet::onto(move || Box::new(pipe.lock().unwrap().take().unwrap()));
        (outlet, Self { began, go_on, read: reads })
    }

    /// Waits until somebody stands in a write that does not return.
    fn is_waited_for(&self) {
        self.began.recv_timeout(PATIENCE).unwrap();
    }

    fn read(&self) -> String {
        self.go_on.send(()).unwrap();
        self.read.recv_timeout(PATIENCE).unwrap()
    }
}

fn all_is_written(outlet: &Outlet) {
    let left = |state: &mut State| !state.is_settled();
    let (_settled, waited) =
        outlet.0.all_written.wait_timeout_while(outlet.0.lock(), PATIENCE, left).unwrap();
    assert!(!waited.timed_out(), "something is still to be written");
}

#[test]
fn lines_are_written_in_their_order() {
    let (outlet, reader) = Reader::new();
    outlet.put(b"one\n");
    reader.is_waited_for();
    outlet.put(b"two\n");
    outlet.put(b"three\n");
    assert_eq!(reader.read(), "one\n");
    reader.is_waited_for();
    assert_eq!(reader.read(), "two\nthree\n");
}

#[test]
fn what_does_not_fit_is_dropped_and_its_number_stands_where_it_is_missing() {
    let (outlet, reader) = Reader::new();
    outlet.put(b"first\n");
    reader.is_waited_for();
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    for _ in 0..WAITING_BYTES / line.len() + 5 {
        outlet.put(&line);
    }
    outlet.put(b"short, but after\nthe gap\n");
    assert_eq!(reader.read(), "first\n");
    reader.is_waited_for();
    outlet.put(b"later\n");
    let text = reader.read();
    let (kept, gap) = text.split_at(WAITING_BYTES);
    assert!(kept.bytes().all(|byte| matches!(byte, b'x' | b'\n')));
    assert_eq!(gap, "... 7 lines are missing here: nobody read this output for a while\n");
    reader.is_waited_for();
    assert_eq!(reader.read(), "later\n");
}

#[test]
fn the_end_waits_for_what_is_left_but_for_nobody_who_does_not_read() {
    let (outlet, reader) = Reader::new();
    drop(outlet.farewell());
    let farewell = outlet.farewell();
    outlet.put(b"last words\n");
    reader.is_waited_for();
    let begin = Instant::now();
    drop(farewell);
    assert!(begin.elapsed() >= FAREWELL);
    let farewell = outlet.farewell();
    assert_eq!(reader.read(), "last words\n");
    all_is_written(&outlet);
    drop(farewell);
}

#[test]
fn a_reader_who_went_away_stops_nobody() {
    let (outlet, reader) = Reader::new();
    outlet.put(b"one\n");
    reader.is_waited_for();
    drop(reader);
    outlet.put(b"two\n");
    all_is_written(&outlet);
}
