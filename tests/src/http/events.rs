//! Server-sent events as a browser reads them.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where a listener goes on after it; states have none.
    pub id: Option<String>,
    /// What it tells of.
    pub kind: String,
    /// What it tells.
    pub data: Value,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    buffer: String,
}

impl Events {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: String::new() }
    }

    /// The next event; nothing when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().unwrap_or_default();
            self.buffer.push_str(std::str::from_utf8(&data).expect("events are text"));
        }
    }

    /// Reads until an event is as wanted; panics when the stream ends before.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            match self.next().await {
                Some(event) if wanted(&event) => return event,
                Some(_) => {}
                None => panic!("the stream of events ended"),
            }
        }
    }
}

/// A block of lines; a comment gives nothing.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.split_once(':'));
        let values =
            lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim_start().to_owned());
        values.collect::<Vec<_>>()
    };
    let data = field("data").join("\n");
    if data.is_empty() {
        return None;
    }
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("no JSON ({error}): {block}"));
    Some(Event { id: field("id").pop(), kind: field("event").pop()?, data })
}
