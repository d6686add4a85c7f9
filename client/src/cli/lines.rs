//! Reading the lines of a file or of standard input beside everything else, a bounded number ahead.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use clb_client::protocol::api::BatchEntry;
use tokio::sync::mpsc;

use crate::failure::Failure;

/// The cluster takes tasks of 1 MiB; this leaves room for how they may be written.
const LONGEST: usize = 4 << 20;
const MOST_AT_ONCE: usize = 512;
const CHUNKS_AHEAD: usize = 8;
const BUFFER: usize = 256 << 10;
const CONFLICT: u16 = 409;

/// A line of the input, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Which one, from 1.
    pub(super) number: u64,
    /// What stands in it, or why it was not kept.
    pub(super) bytes: Result<Vec<u8>, String>,
}

/// Lines that were there at the same time.
pub(super) type Chunk = Result<Vec<Line>, Failure>;

/// Why the cluster refused the task of a line, in which fields are as they stand in its JSON.
pub(super) fn reason(entry: &BatchEntry) -> String {
    let Some(error) = &entry.error else { return format!("refused with {}", entry.status) };
    let wrong: Vec<String> = error.errors.iter().map(|e| format!("{} {}", e.pointer, e.detail)).collect();
    if wrong.is_empty() || entry.status == CONFLICT { error.detail.clone() } else { wrong.join("; ") }
}

/// Lines of a file, or of standard input for `-`, and how many bytes there are where that is known.
pub(super) fn of(path: &Path, end: u8) -> Result<(mpsc::Receiver<Chunk>, Option<u64>), Failure> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return Ok((spawn(BufReader::with_capacity(BUFFER, std::io::stdin()), end, name), None));
    }
    let failed = |source| Failure::Read { name: name.clone(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((spawn(BufReader::with_capacity(BUFFER, file), end, name), bytes))
}

/// A thread of its own, for a read of standard input cannot be called off.
fn spawn<R: std::io::Read + Send + 'static>(
    reader: BufReader<R>,
    end: u8,
    name: String,
) -> mpsc::Receiver<Chunk> {
    let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
    std::thread::spawn(move || read(reader, end, &name, |chunk| chunks.blocking_send(chunk).is_ok()));
    received
}

/// Hands out lines as soon as there is no further one at hand.
fn read<R: std::io::Read>(
    mut reader: BufReader<R>,
    end: u8,
    name: &str,
    mut hand_out: impl FnMut(Chunk) -> bool,
) {
    let mut number = 0;
    let mut chunk = Vec::new();
    loop {
        number += 1;
        let mut bytes = Vec::new();
        match reader.by_ref().take(LONGEST as u64 + 1).read_until(end, &mut bytes) {
            Ok(0) => break,
            Ok(length) if length > LONGEST => {
                let is_whole = bytes.last() == Some(&end);
                let detail = format!("is longer than {} MiB", LONGEST >> 20);
                chunk.push(Line { number, bytes: Err(detail) });
                if !hand_out(Ok(std::mem::take(&mut chunk))) {
                    return;
                }
                if !is_whole && let Err(source) = reader.skip_until(end) {
                    hand_out(Err(Failure::Read { name: name.to_owned(), source }));
                    return;
                }
                continue;
            }
            Ok(_) => {}
            Err(source) => {
                hand_out(Ok(chunk));
                hand_out(Err(Failure::Read { name: name.to_owned(), source }));
                return;
            }
        }
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
        chunk.push(Line { number, bytes: Ok(bytes) });
        let is_next_at_hand = reader.buffer().contains(&end);
        if (chunk.len() >= MOST_AT_ONCE || !is_next_at_hand) && !hand_out(Ok(std::mem::take(&mut chunk))) {
            return;
        }
    }
    hand_out(Ok(chunk));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], end: u8) -> Vec<Line> {
        let mut all = Vec::new();
        read(BufReader::with_capacity(4, text), end, "-", |chunk| {
            all.extend(chunk.unwrap());
            true
        });
        all
    }

    #[test]
    fn lines_are_numbered_and_the_last_needs_no_end() {
        let line = |number, bytes: &[u8]| Line { number, bytes: Ok(bytes.to_vec()) };
        assert_eq!(lines(b"a\n\nlonger line", b'\n'), [line(1, b"a"), line(2, b""), line(3, b"longer line")]);
        assert_eq!(lines(b"a\nb\0c\0", 0), [line(1, b"a\nb"), line(2, b"c")]);
    }

    #[test]
    fn a_line_without_end_is_refused_and_not_kept() {
        let text = std::io::Read::chain(&b"a\n"[..], std::io::repeat(b'x'));
        let mut chunks = Vec::new();
        read(BufReader::new(text), b'\n', "-", |chunk| {
            chunks.push(chunk);
            chunks.len() < 2
        });
        let last = chunks.pop().unwrap().unwrap();
        assert!(matches!(last[..], [Line { number: 2, bytes: Err(_) }]), "{last:?}");
    }

    #[test]
    fn the_lines_after_one_that_is_too_long_are_read() {
        let text = [&b"a\n"[..], &vec![b'x'; LONGEST + 7], b"\nb\n"].concat();
        let kept: Vec<_> = lines(&text, b'\n').into_iter().map(|line| line.bytes.ok()).collect();
        assert_eq!(kept, [Some(b"a".to_vec()), None, Some(b"b".to_vec())]);
    }
}
