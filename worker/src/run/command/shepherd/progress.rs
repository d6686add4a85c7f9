//! What a program tells of its progress: lines `::clb progress=0.42 note=half of it` in its standard output.

use std::time::{Duration, Instant};

use clb_protocol::Timestamp;
use clb_protocol::api::Progress;
use memchr::{memchr, memmem, memrchr};

const BEGINNING: &[u8] = b"::clb progress=";
/// A longer line is no line of this kind.
const LONGEST_LINE: usize = 2 * 1024;
const LONGEST_NOTE: usize = 255;
/// The worker hears of it no more often than this.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks for such lines in bytes as they come. Only the beginning of a line that may become one is kept.
#[derive(Debug)]
pub(super) struct Scanner {
    line: Line,
    untold: Option<Progress>,
    told_at: Option<Instant>,
}

/// What is known of the line that has not ended yet.
#[derive(Debug)]
enum Line {
    /// Its beginning, which may be that of a line that tells.
    Promising(Vec<u8>),
    /// It tells nothing.
    Other,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { line: Line::Promising(Vec::new()), untold: None, told_at: None }
    }
}

impl Scanner {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        let is_between_lines = matches!(&self.line, Line::Promising(begun) if begun.is_empty());
        if !is_between_lines {
            let Some(end) = memchr(b'\n', bytes) else { return self.go_on(bytes) };
            self.go_on(&bytes[..end]);
            if let Line::Promising(line) = &self.line {
                self.untold = parse(line).or(self.untold.take());
            }
            self.line = Line::Promising(Vec::new());
            bytes = &bytes[end + 1..];
        }
        if bytes.is_empty() {
            return;
        }
        let last = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (lines, begun) = bytes.split_at(last);
        for at in memmem::find_iter(lines, BEGINNING) {
            if at == 0 || lines[at - 1] == b'\n' {
                let line = &lines[at..];
                let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
                self.untold = parse(line).or(self.untold.take());
            }
        }
        self.go_on(begun);
    }

    fn go_on(&mut self, bytes: &[u8]) {
        let Line::Promising(begun) = &mut self.line else { return };
        let room = LONGEST_LINE.saturating_sub(begun.len());
        begun.extend_from_slice(&bytes[..bytes.len().min(room + 1)]);
        let compared = begun.len().min(BEGINNING.len());
        if begun.len() > LONGEST_LINE || begun[..compared] != BEGINNING[..compared] {
            self.line = Line::Other;
        }
    }

    /// When there will be something to tell, if there is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.untold.as_ref()?;
        Some(self.told_at.map_or_else(Instant::now, |told| told + PAUSE))
    }

    /// What is to be told now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Progress> {
        if self.untold.is_none() || self.told_at.is_some_and(|told| now < told + PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        self.untold.take()
    }
}

/// What a line tells; nothing when it is not as it should be.
fn parse(line: &[u8]) -> Option<Progress> {
    if line.len() > LONGEST_LINE {
        return None;
    }
    let text = String::from_utf8_lossy(line.strip_prefix(BEGINNING)?);
    let text = text.trim_end();
    let (fraction, rest) = text.split_once(' ').unwrap_or((text, ""));
    let fraction = fraction.parse::<f64>().ok().filter(|fraction| fraction.is_finite())?;
    let note = match rest.trim_start() {
        "" => None,
        rest => Some(rest.strip_prefix("note=")?),
    };
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let note = note.map(|note| note.trim().chars().take(LONGEST_NOTE).map(clean).collect::<String>());
    Some(Progress {
        fraction: fraction.clamp(0.0, 1.0),
        note: note.filter(|note| !note.is_empty()),
        at: Timestamp::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &[u8], piece: usize) -> Option<(f64, Option<String>)> {
        let mut scanner = Scanner::default();
        for piece in text.chunks(piece) {
            scanner.feed(piece);
        }
        scanner.untold.map(|progress| (progress.fraction, progress.note))
    }

    #[test]
    fn the_last_line_that_tells_counts_however_it_comes() {
        let text =
            b"::clb progress=0.1\nhello\n\n::clb progress=0.42 note=half of it\nbye\n::clb progress=0.9";
        for piece in 1..=text.len() {
            assert_eq!(
                told(text, piece),
                Some((0.42, Some("half of it".to_owned()))),
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn only_the_beginning_of_a_line_counts() {
        let text = b"x::clb progress=0.1\n ::clb progress=0.2\n";
        for piece in 1..=text.len() {
            assert_eq!(told(text, piece), None, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_passed_over() {
        for line in ["", "x", "nan", "inf", "0.5x", "0.5 nota=x", "0.5 half", "--1"] {
            assert_eq!(told(format!("::clb progress={line}\n").as_bytes(), 99), None, "{line}");
        }
        assert_eq!(told(b"::clb progress 0.5\n:clb progress=0.5\n::CLB progress=0.5\n", 99), None);
    }

    #[test]
    fn fractions_are_clamped_and_notes_are_short_and_clean() {
        assert_eq!(told(b"::clb progress=7\r\n", 99), Some((1.0, None)));
        assert_eq!(told(b"::clb progress=-1 note= \n", 99), Some((0.0, None)));
        let note =
            told(format!("::clb progress=1 note={}\n", "\u{fc}".repeat(300)).as_bytes(), 99).unwrap().1;
        assert_eq!(note.unwrap().chars().count(), LONGEST_NOTE);
        let note = told(b"::clb progress=.5 note=a\x1b\xffb\n", 99).unwrap().1;
        assert_eq!(note.as_deref(), Some("a\u{fffd}\u{fffd}b"));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let mut scanner = Scanner::default();
        scanner.feed(BEGINNING);
        for _ in 0..100 {
            scanner.feed(&[b'1'; 1_000]);
        }
        assert!(matches!(scanner.line, Line::Other));
        scanner.feed(b"\n::clb progress=0.5\n");
        assert!(scanner.take(Instant::now()).is_some());
    }

    #[test]
    fn it_is_told_four_times_a_second_and_the_latest_wins() {
        let mut scanner = Scanner::default();
        let now = Instant::now();
        assert!(scanner.due().is_none());
        scanner.feed(b"::clb progress=0.1\n");
        assert_eq!(scanner.take(now).map(|told| told.fraction), Some(0.1));
        scanner.feed(b"::clb progress=0.2\n");
        assert_eq!((scanner.take(now), scanner.due()), (None, Some(now + PAUSE)));
        scanner.feed(b"::clb progress=0.3\n");
        assert_eq!(scanner.take(now + PAUSE).map(|told| told.fraction), Some(0.3));
    }
}
