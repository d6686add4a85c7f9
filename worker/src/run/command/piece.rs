//! Pieces of what a program writes, as they are asked for and sent.

use clb_protocol::task::{Output, OutputStream, Truncated};
use serde::{Deserialize, Serialize};

/// A wish for the next piece of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Which output.
    pub stream: OutputStream,
    /// From which byte of it on.
    pub from: u64,
    /// Whether the answer waits until there is something.
    pub waits: bool,
}

/// Some bytes in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The place of the first of them; later than asked for when what was before is not kept any more.
    pub at: u64,
    /// The bytes; none when there are none yet.
    #[serde(with = "text")]
    pub bytes: Vec<u8>,
    /// How many were written so far.
    pub written: u64,
    /// Whether nothing will come after them.
    pub is_last: bool,
}

impl Piece {
    /// What follows on this piece.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// The rest of an output that has ended, up to its gap if that comes first.
    pub(crate) fn of_ended(output: &Output, from: u64) -> Self {
        let gap = output.truncated.unwrap_or(Truncated { at: output.bytes.len() as u64, dropped_bytes: 0 });
        let (head, tail) = output.bytes.split_at(output.bytes.len().min(gap.at as usize));
        let written = output.bytes.len() as u64 + gap.dropped_bytes;
        let piece = Self::cut([head], gap.dropped_bytes, [tail], from, usize::MAX);
        Self { written, is_last: piece.next() >= written, ..piece }
    }

    /// At most `most` bytes from `from` on, where `dropped` bytes are missing between head and tail.
    pub(super) fn cut<'a>(
        head: impl IntoIterator<Item = &'a [u8]>,
        dropped: u64,
        tail: impl IntoIterator<Item = &'a [u8]>,
        from: u64,
        most: usize,
    ) -> Self {
        let mut bytes = Vec::new();
        let mut at = None;
        let mut place = 0;
        let parts = head.into_iter().map(|part| (0, part));
        let mut gap = dropped;
        let tail = tail.into_iter().map(|part| (std::mem::take(&mut gap), part));
        for (gap, part) in parts.chain(tail) {
            if gap > 0 && at.is_some() {
                break;
            }
            place += gap;
            let skipped = from.saturating_sub(place).min(part.len() as u64);
            let rest = &part[skipped as usize..];
            if !rest.is_empty() {
                at.get_or_insert(place + skipped);
                bytes.extend_from_slice(&rest[..rest.len().min(most - bytes.len())]);
            }
            place += part.len() as u64;
        }
        Self { at: at.unwrap_or(place), bytes, written: place, is_last: false }
    }
}

/// Bytes on a wire of JSON lines.
mod text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        let truncated = Some(Truncated { at: 4, dropped_bytes: 10 });
        Output { bytes: b"headtail".to_vec(), truncated }
    }

    fn told(from: u64) -> (u64, String, bool) {
        let piece = Piece::of_ended(&output(), from);
        assert_eq!(piece.written, 18);
        (piece.at, String::from_utf8(piece.bytes).unwrap(), piece.is_last)
    }

    #[test]
    fn what_has_ended_is_read_up_to_its_gap_and_from_there_on() {
        assert_eq!(told(0), (0, "head".to_owned(), false));
        assert_eq!(told(3), (3, "d".to_owned(), false));
        for from in [4, 9, 14] {
            assert_eq!(told(from), (14, "tail".to_owned(), true));
        }
        assert_eq!(told(17), (17, "l".to_owned(), true));
        assert_eq!(told(18), (18, String::new(), true));
    }

    #[test]
    fn what_is_whole_is_one_piece_and_nothing_is_the_last_one() {
        let whole = Output { bytes: b"all".to_vec(), truncated: None };
        let piece = Piece::of_ended(&whole, 1);
        assert_eq!((piece.at, &piece.bytes[..], piece.is_last), (1, &b"ll"[..], true));
        assert!(Piece::of_ended(&Output::default(), 0).is_last);
    }

    #[test]
    fn any_bytes_survive_the_wire() {
        let bytes: Vec<u8> = (0..=255).collect();
        let piece = Piece { at: 7, bytes, written: 300, is_last: false };
        let line = serde_json::to_vec(&piece).unwrap();
        assert!(!line.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Piece>(&line).unwrap(), piece);
    }
}
