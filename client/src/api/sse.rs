//! Reading `text/event-stream` from pieces of any size.

use std::mem;

/// The longest event that is kept; what is longer is dropped whole.
const LONGEST: usize = 4 * 1024 * 1024;

/// One event as it stands in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawEvent {
    /// Its type; empty for `message`.
    pub(super) name: String,
    /// Its data lines, joined by line ends.
    pub(super) data: String,
    /// The newest id at this point of the stream.
    pub(super) id: Option<String>,
}

/// Cuts a stream into events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    rest: Vec<u8>,
    pending: RawEvent,
    id: Option<String>,
}

impl Reader {
    /// Takes the next piece and gives the events that it completes.
    pub(super) fn read(&mut self, piece: &[u8]) -> Vec<RawEvent> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[from..from + length]).into_owned();
            from += length + 1;
            events.extend(self.take_line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.rest.drain(..from);
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
        events
    }

    fn take_line(&mut self, line: &str) -> Option<RawEvent> {
        if line.is_empty() {
            return self.complete();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.pending.name),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" if self.pending.data.len() + value.len() <= LONGEST => {
                self.pending.data.push_str(value);
                self.pending.data.push('\n');
            }
            _ => {}
        }
        None
    }

    fn complete(&mut self) -> Option<RawEvent> {
        let mut event = mem::take(&mut self.pending);
        event.data.pop()?;
        event.id.clone_from(&self.id);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> RawEvent {
        RawEvent { name: name.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn events_are_found_whatever_the_pieces() {
        let text = ": hello\n\nid: 7\nevent: task\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\n";
        let expected = vec![event("task", "{\"a\":\n1}", Some("7")), event("", "x", Some("7"))];
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let found: Vec<RawEvent> =
                text.as_bytes().chunks(size).flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_data_is_no_event_but_its_id_counts() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"id: 8\nevent: ping\n\ndata: y\n\n"), [event("", "y", Some("8"))]);
    }
}
