//! How far one output of an attempt was passed on, whoever it comes from and however often, and what of it is missing.

use std::cell::Cell;
use std::io::Write as _;

use clb_client::OutputStream;
use clb_client::protocol::task::{MAX_OUTPUT_BYTES, Output, missing};

use super::super::gaps::name_of;
use super::super::output::{remark, write};
use crate::failure::Failure;

/// The beginning of an output is always kept, so no gap comes before this; a character may straddle the place.
const EARLIEST_GAP: u64 = MAX_OUTPUT_BYTES as u64 / 2 - 4;
/// How the cluster writes a gap into an output, but for the number.
const MARK: (&[u8], &[u8]) = (b"\n[clb: ", b" bytes are missing here]\n");
const MOST_DIGITS: usize = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Passage {
    stream: OutputStream,
    /// Whether a gap is marked where it is; an output that a program reads must not have more than was written.
    marks: bool,
    known: Cell<u64>,
    missing: Cell<u64>,
}

/// One reading of an output from its beginning.
#[derive(Debug, Default)]
pub(super) struct Reading {
    place: u64,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
}

impl Reading {
    /// Whether the end of a line is held that more likely is just that: whoever reads lines waits for it.
    pub(super) fn holds_a_line_end(&self) -> bool {
        self.held.len() == 1
    }
}

enum Mark {
    None,
    Begins,
    Is { length: usize, bytes: u64 },
}

impl Passage {
    pub(super) fn new(stream: OutputStream, marks: bool) -> Self {
        Self { stream, marks, known: Cell::new(0), missing: Cell::new(0) }
    }

    /// The next attempt begins anew.
    pub(super) fn forget(&self) {
        self.known.set(0);
    }

    /// Passes on what is new in a piece.
    pub(super) fn take(&self, reading: &mut Reading, piece: &[u8]) -> Result<(), Failure> {
        let bytes = if reading.held.is_empty() {
            piece.to_vec()
        } else {
            let mut bytes = std::mem::take(&mut reading.held);
            bytes.extend_from_slice(piece);
            bytes
        };
        let (mut begun, mut next) = (0, 0);
        while let Some(found) = bytes[next..].iter().position(|byte| *byte == b'\n') {
            let at = next + found;
            next = at + 1;
            if reading.place + ((at - begun) as u64) < EARLIEST_GAP {
                continue;
            }
            match mark(&bytes[at..]) {
                Mark::None => {}
                Mark::Begins => {
                    self.written(reading, &bytes[begun..at])?;
                    reading.held = bytes[at..].to_vec();
                    return Ok(());
                }
                Mark::Is { length, bytes: dropped } => {
                    self.written(reading, &bytes[begun..at])?;
                    self.dropped(reading, dropped)?;
                    (begun, next) = (at + length, at + length);
                }
            }
        }
        self.written(reading, &bytes[begun..])
    }

    /// Passes on what was held: nothing came that makes a mark of it.
    pub(super) fn release(&self, reading: &mut Reading) -> Result<(), Failure> {
        let held = std::mem::take(&mut reading.held);
        self.written(reading, &held)
    }

    /// Passes on what did not come while it was written.
    pub(super) fn complete(&self, output: &Output) -> Result<(), Failure> {
        let mut reading = Reading::default();
        let Some(gap) = &output.truncated else { return self.written(&mut reading, &output.bytes) };
        let (head, tail) = output.bytes.split_at(output.bytes.len().min(gap.at as usize));
        self.written(&mut reading, head)?;
        self.dropped(&mut reading, gap.dropped_bytes)?;
        self.written(&mut reading, tail)
    }

    /// Says what is missing; gives whether something is.
    pub(super) fn report(&self) -> bool {
        let count = self.missing.get();
        if count > 0 {
            let name = name_of(self.stream);
            let kept = MAX_OUTPUT_BYTES >> 10;
            remark(format!(
                "{count} bytes of {name} are missing: of output that is not read in time the cluster keeps only \
                 the beginning and the end, {kept} KiB in total"
            ));
        }
        count > 0
    }

    fn written(&self, reading: &mut Reading, bytes: &[u8]) -> Result<(), Failure> {
        let known = self.known.get().saturating_sub(reading.place).min(bytes.len() as u64);
        reading.place += bytes.len() as u64;
        self.known.set(self.known.get().max(reading.place));
        pass_on(self.stream, &bytes[known as usize..])
    }

    fn dropped(&self, reading: &mut Reading, bytes: u64) -> Result<(), Failure> {
        let behind = reading.place.saturating_add(bytes);
        let lost = behind.saturating_sub(reading.place.max(self.known.get()));
        reading.place = behind;
        self.known.set(self.known.get().max(behind));
        self.missing.set(self.missing.get() + lost);
        if lost > 0 && self.marks { pass_on(self.stream, &missing(lost)) } else { Ok(()) }
    }
}

/// What these bytes, of which the first ends a line, are.
fn mark(bytes: &[u8]) -> Mark {
    let (before, after) = MARK;
    if bytes.len() <= before.len() {
        return if before.starts_with(bytes) { Mark::Begins } else { Mark::None };
    }
    let Some(rest) = bytes.strip_prefix(before) else { return Mark::None };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = &rest[digits..];
    if digits > MOST_DIGITS || (digits == 0 && !behind.is_empty()) {
        return Mark::None;
    }
    if !behind.starts_with(after) {
        return if after.starts_with(behind) { Mark::Begins } else { Mark::None };
    }
    let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
    let length = before.len() + digits + after.len();
    number.map_or(Mark::None, |bytes| Mark::Is { length, bytes })
}

/// Writes to one of the two outputs of `clb` itself.
fn pass_on(stream: OutputStream, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    match stream {
        OutputStream::Stdout => write(bytes),
        OutputStream::Stderr => {
            let mut err = std::io::stderr().lock();
            err.write_all(bytes)?;
            Ok(err.flush()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_what_only_begins_like_one() {
        let whole = missing(4_711);
        assert_eq!(whole, [MARK.0, b"4711", MARK.1].concat(), "the two sides write it alike");
        assert!(
            matches!(mark(&[&whole, &b"x"[..]].concat()), Mark::Is { length, bytes: 4_711 } if length == whole.len())
        );
        for length in 1..whole.len() {
            assert!(matches!(mark(&whole[..length]), Mark::Begins), "{length}");
        }
        for text in ["\n\n", "\n[club: 1", "\n[clb: x", "\n[clb: 1 bit"] {
            assert!(matches!(mark(text.as_bytes()), Mark::None), "{text:?}");
        }
    }
}
