//! Cuts a stream of bytes into lines.

use bytes::{Buf, Bytes, BytesMut};

use super::LinkError;

/// A longer line is nonsense; it would only fill the memory.
pub(super) const MAX_LINE_BYTES: usize = 32 << 20;

/// Bytes that arrived and are not read yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Lines {
    pub(super) fn feed(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line that is not empty, without its end.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, LinkError> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return if self.searched > MAX_LINE_BYTES { Err(LinkError::LineTooLong) } else { Ok(None) };
            };
            let line = self.buffer.split_to(self.searched + end);
            self.buffer.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next().unwrap())
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive() {
        let text = b"one\n\ntwo\nthree";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(&Bytes::copy_from_slice(piece));
                found.extend(all(&mut lines));
            }
            assert_eq!(found, ["one", "two"], "in pieces of {size}");
            lines.feed(&Bytes::from_static(b"\n"));
            assert_eq!(all(&mut lines), ["three"]);
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = Lines::default();
        lines.feed(&Bytes::from(vec![b'x'; MAX_LINE_BYTES + 1]));
        assert!(matches!(lines.next(), Err(LinkError::LineTooLong)));
    }
}
