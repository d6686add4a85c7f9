//! Many log lines in one value.
//!
//! For each line, one after the other: its number and its time as differences to the line before, its
//! container, its task, its message; numbers as LEB128. A message that speaks its task's id, as almost
//! all do, is kept without it, as the two parts around it.

use std::fmt::Write;

use clb_protocol::{ContainerNo, LogSeq, TaskId, Timestamp};

use crate::LogEntry;

/// What stands before a message: its task, and whether the message lacks the task's id.
const NO_TASK: u8 = 0;
const WITH_TASK: u8 = 1;
const AROUND_TASK: u8 = 2;

/// One line, still in its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) seq: LogSeq,
    pub(super) at: Timestamp,
    pub(super) container: ContainerNo,
    pub(super) task: Option<TaskId>,
    head: &'a str,
    /// What follows the task's id, when the message speaks it.
    tail: Option<&'a str>,
}

impl Line<'_> {
    pub(super) fn message(&self) -> String {
        match (self.tail, self.task) {
            (Some(tail), Some(task)) => format!("{}{task}{tail}", self.head),
            _ => self.head.to_owned(),
        }
    }
}

/// Writes `lines`, which are in the order of their numbers.
pub(super) fn encode(lines: &[LogEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(lines.len() * 56);
    let mut spoken = String::with_capacity(36);
    let (mut seq, mut at) = (0, 0);
    for line in lines {
        put(&mut bytes, line.seq.0.wrapping_sub(seq));
        put(&mut bytes, zigzag(line.at.0.wrapping_sub(at)));
        put(&mut bytes, u64::from(line.container.0));
        (seq, at) = (line.seq.0, line.at.0);
        let Some(task) = line.task else {
            bytes.push(NO_TASK);
            put_text(&mut bytes, &line.message);
            continue;
        };
        spoken.clear();
        // Writing to a String cannot fail.
        let _ = write!(spoken, "{task}");
        if let Some((head, tail)) = line.message.split_once(spoken.as_str()) {
            bytes.push(AROUND_TASK);
            bytes.extend_from_slice(task.as_bytes());
            put_text(&mut bytes, head);
            put_text(&mut bytes, tail);
        } else {
            bytes.push(WITH_TASK);
            bytes.extend_from_slice(task.as_bytes());
            put_text(&mut bytes, &line.message);
        }
    }
    bytes
}

/// Reads what [`encode`] wrote. Ends with `None` in place of a line when the bytes are damaged.
pub(super) fn decode(bytes: &[u8]) -> impl Iterator<Item = Option<Line<'_>>> {
    let mut rest = bytes;
    let (mut seq, mut at) = (0_u64, 0_i64);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let line = take_line(&mut rest, &mut seq, &mut at);
        if line.is_none() {
            rest = &[];
        }
        Some(line)
    })
}

fn take_line<'a>(rest: &mut &'a [u8], seq: &mut u64, at: &mut i64) -> Option<Line<'a>> {
    *seq = seq.wrapping_add(take(rest)?);
    *at = at.wrapping_add(unzigzag(take(rest)?));
    let container = ContainerNo(u32::try_from(take(rest)?).ok()?);
    let (tag, after) = rest.split_first()?;
    *rest = after;
    let task = match *tag {
        NO_TASK => None,
        WITH_TASK | AROUND_TASK => {
            let (id, after) = rest.split_first_chunk::<16>()?;
            *rest = after;
            Some(TaskId::from_bytes(*id))
        }
        _ => return None,
    };
    let head = take_text(rest)?;
    let tail = if *tag == AROUND_TASK { Some(take_text(rest)?) } else { None };
    Some(Line { seq: LogSeq(*seq), at: Timestamp(*at), container, task, head, tail })
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// Small numbers of either sign become small numbers without one.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, at: i64, task: Option<TaskId>, message: &str) -> LogEntry {
        let message = message.to_owned();
        LogEntry { seq: LogSeq(seq), at: Timestamp(at), container: ContainerNo(seq as u32), task, message }
    }

    fn lines() -> Vec<LogEntry> {
        let id = TaskId::now();
        vec![
            entry(7, 1_700_000_000_000_000, None, "CRASH :("),
            entry(8, 1_600_000_000_000_000, Some(id), &format!("Sent payload: {id} to port: 3004 ({id})")),
            entry(1_000_000, i64::MAX, Some(id), "Größe ✓"),
            entry(u64::MAX, i64::MIN, Some(id), &id.to_string()),
            entry(3, 0, None, ""),
        ]
    }

    #[test]
    fn lines_survive_their_chunk() {
        let lines = lines();
        let bytes = encode(&lines);
        let read: Vec<LogEntry> = decode(&bytes)
            .map(|line| line.unwrap())
            .map(|line| LogEntry {
                seq: line.seq,
                at: line.at,
                container: line.container,
                task: line.task,
                message: line.message(),
            })
            .collect();
        assert_eq!(read, lines);
    }

    #[test]
    fn a_damaged_chunk_is_noticed_and_never_panics() {
        let lines = lines();
        let bytes = encode(&lines);
        for length in 1..bytes.len() {
            let read: Vec<_> = decode(&bytes[..length]).collect();
            assert!(read.len() <= lines.len());
            let mut damaged = bytes.clone();
            damaged[length] ^= 0xff;
            let _ = decode(&damaged).count();
        }
        assert_eq!(decode(&bytes[..bytes.len() - 2]).last(), Some(None));
    }
}
