//! What is kept of an output: its beginning and its end, however much there is in between.

use std::collections::VecDeque;

use clb_protocol::task::{MAX_OUTPUT_BYTES, Output, Truncated};

use crate::run::command::Piece;

const HALF: usize = MAX_OUTPUT_BYTES / 2;
/// The most that a piece has.
const PIECE_BYTES: usize = 64 * 1024;

/// An output as it comes.
#[derive(Debug, Default)]
pub(super) struct Tape {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Tape {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HALF - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = match rest.len().checked_sub(HALF) {
            Some(beyond) => {
                self.dropped += beyond as u64;
                &rest[beyond..]
            }
            None => rest,
        };
        let overflow = (self.tail.len() + rest.len()).saturating_sub(HALF);
        self.tail.drain(..overflow);
        self.dropped += overflow as u64;
        self.tail.extend(rest);
    }

    /// What is there from `from` on, as far as one piece goes.
    pub(super) fn piece(&self, from: u64) -> Piece {
        let (first, second) = self.tail.as_slices();
        Piece::cut([&self.head[..]], self.dropped, [first, second], from, PIECE_BYTES)
    }

    /// How much was written so far.
    pub(super) fn written(&self) -> u64 {
        self.dropped + (self.head.len() + self.tail.len()) as u64
    }

    /// All that is kept. A character that the gap cut in two is left out with it.
    pub(super) fn finish(self) -> Output {
        let (mut bytes, mut tail, mut dropped) = (self.head, Vec::from(self.tail), self.dropped);
        if dropped == 0 {
            bytes.append(&mut tail);
            return Output { bytes, truncated: None };
        }
        let whole = whole_characters(&bytes);
        let begun = tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        if std::str::from_utf8(&bytes[..whole]).is_ok() && std::str::from_utf8(&tail[begun..]).is_ok() {
            dropped += (bytes.len() - whole + begun) as u64;
            bytes.truncate(whole);
            tail.drain(..begun);
        }
        let at = bytes.len() as u64;
        bytes.append(&mut tail);
        Output { bytes, truncated: Some(Truncated { at, dropped_bytes: dropped }) }
    }
}

/// How much of a text is there without a last character that is cut off.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(text: &[u8], piece: usize) -> Output {
        let mut tape = Tape::default();
        for piece in text.chunks(piece) {
            tape.push(piece);
        }
        tape.finish()
    }

    #[test]
    fn up_to_the_limit_everything_is_kept() {
        let text = vec![b'x'; MAX_OUTPUT_BYTES];
        assert_eq!(tape(&text, 999), Output { bytes: text, truncated: None });
        assert_eq!(tape(b"", 1), Output::default());
    }

    #[test]
    fn beyond_it_the_beginning_and_the_end_are_kept_however_it_comes() {
        let text: Vec<u8> = (0..3 * MAX_OUTPUT_BYTES).map(|n| b'a' + (n % 23) as u8).collect();
        let mut kept = text[..HALF].to_vec();
        kept.extend_from_slice(&text[text.len() - HALF..]);
        let truncated = Some(Truncated { at: HALF as u64, dropped_bytes: 2 * MAX_OUTPUT_BYTES as u64 });
        for piece in [1_000, HALF + 1, text.len()] {
            assert_eq!(tape(&text, piece), Output { bytes: kept.clone(), truncated });
        }
    }

    #[test]
    fn whoever_reads_while_it_grows_gets_everything_or_is_told_where_it_goes_on() {
        let text: Vec<u8> = (0..MAX_OUTPUT_BYTES).map(|n| (n % 251) as u8).collect();
        let mut tape = Tape::default();
        let mut read = Vec::new();
        for bytes in text.chunks(10_000) {
            tape.push(bytes);
            let piece = tape.piece(read.len() as u64);
            assert_eq!((piece.at, piece.written), (read.len() as u64, tape.written()));
            read.extend(piece.bytes);
        }
        assert!(read == text);
        assert!(tape.piece(tape.written()).bytes.is_empty());
        tape.push(&[b'x'; 1_000]);
        let after_the_head = tape.piece(HALF as u64);
        assert_eq!((after_the_head.at, after_the_head.bytes.len()), (HALF as u64 + 1_000, PIECE_BYTES));
        assert_eq!(tape.piece(HALF as u64 - 7).bytes.len(), 7, "the head ends at the gap");
    }

    #[test]
    fn text_stays_text_when_the_gap_cuts_characters() {
        let text = format!("x{}", "ü".repeat(MAX_OUTPUT_BYTES));
        let output = tape(text.as_bytes(), 4_096);
        let kept = String::from_utf8(output.bytes).unwrap();
        let truncated = output.truncated.unwrap();
        assert_eq!(kept.len() as u64 + truncated.dropped_bytes, text.len() as u64);
        assert!(kept.is_char_boundary(truncated.at as usize));
        assert!(kept.starts_with("xü") && kept.ends_with('ü'));
    }

    #[test]
    fn what_is_no_text_is_kept_byte_by_byte() {
        let output = tape(&vec![0xBF; 2 * MAX_OUTPUT_BYTES], 4_096);
        assert_eq!(output.bytes.len(), MAX_OUTPUT_BYTES);
    }
}
