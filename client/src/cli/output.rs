//! Printing: JSON for programs, aligned and coloured tables for people.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use clb_client::protocol::Timestamp;
use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::TaskSpec;
use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::failure::Failure;

/// A text in a table is cut beyond this.
const WIDEST: usize = 60;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    /// Whether a program reads.
    pub(crate) is_json: bool,
}

impl Printer {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }
}

/// One JSON document.
pub(crate) fn document<T: Serialize>(data: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(data).map_err(std::io::Error::from)?;
    text.push(b'\n');
    write(&text)
}

/// One JSON document of several, on a line of its own.
pub(crate) fn json_line<T: Serialize>(data: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(data).map_err(std::io::Error::from)?;
    text.push(b'\n');
    write(&text)
}

/// Writes to standard output at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes a line for a person.
pub(crate) fn say(text: impl Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a line beside the output.
pub(crate) fn remark(text: impl Display) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "clb: {text}");
}

/// A state in its colour.
pub(crate) fn state_cell(state: &str) -> Cell {
    let cell = Cell::new(state);
    match state {
        "succeeded" | "ready" | "leader" => cell.fg(Color::Green),
        "failed" | "lost" | "down" | "backing_off" => cell.fg(Color::Red),
        "running" | "starting" | "preparing" | "updating" => cell.fg(Color::Cyan),
        "cancelled" | "draining" | "stopped" | "removing" | "paused" => cell.fg(Color::Yellow),
        _ => cell,
    }
}

/// An enum as it is written in JSON.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// A text of somebody else on one line of a terminal: no control characters, and not too long.
pub(crate) fn plain(text: &str) -> String {
    let safe = safe(text);
    if safe.chars().count() <= WIDEST {
        return safe;
    }
    let cut: String = safe.chars().take(WIDEST - 1).collect();
    format!("{cut}…")
}

/// The same in its full length.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What stands in a table for something that is not there.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), safe)
}

/// What a task does, for a person.
pub(crate) fn what(task: &TaskView) -> String {
    safe(&work(task))
}

/// The same as it is, for a file.
pub(crate) fn work(task: &TaskView) -> String {
    let spec: Result<TaskSpec, _> = serde_json::from_str(task.spec.get());
    spec.map_or_else(|_| task.kind.as_str().to_owned(), |spec| spec.work.to_string())
}

/// A span of time as short as it can be told.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", span.as_secs_f64()),
        10..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago something was.
pub(crate) fn ago(at: Timestamp) -> String {
    span(Timestamp::now().since(at))
}

/// An amount of memory.
pub(crate) fn memory(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_speak_to_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(plain(&"ü".repeat(61)).chars().count(), 60);
    }

    #[test]
    fn spans_and_sizes_are_short() {
        let spans = [0.25, 42.0, 300.0, 7_300.0, 200_000.0].map(|s| span(Duration::from_secs_f64(s)));
        assert_eq!(spans, ["0.2s", "42s", "5m", "2h", "2d"]);
        assert_eq!([memory(7), memory(1_536), memory(256 << 20)], ["7 B", "1.5 KiB", "256.0 MiB"]);
    }
}
