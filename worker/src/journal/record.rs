//! The lines themselves and the bounds on them; no output, no clock.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::mem;

use clb_protocol::Timestamp;
use clb_protocol::link::LogLine;

use super::Note;

/// How many lines the worker's page can show.
pub(crate) const RING_LINES: usize = 2_000;
/// Lines on payloads that standard output takes in one second.
const STDOUT_LINES_PER_SECOND: u32 = 200;
/// Lines on payloads that the leader takes in one second; its own lines tell the way of every task.
const LEADER_LINES_PER_SECOND: u32 = 1_000;
/// Lines that wait for the leader while there is none.
const WAITING_LINES: usize = 2_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record {
    ring: VecDeque<(Timestamp, Note)>,
    output: String,
    to_leader: VecDeque<LogLine>,
    second: i64,
    payload_lines: u32,
    lost: u64,
}

impl Record {
    pub(super) fn note(&mut self, at: Timestamp, note: Note) {
        self.turn(at);
        if note.task().is_none() {
            self.print(at, &note);
            self.queue(at, &note);
        } else {
            self.payload_lines += 1;
            if self.payload_lines <= STDOUT_LINES_PER_SECOND {
                self.print(at, &note);
            }
            if self.payload_lines <= LEADER_LINES_PER_SECOND {
                self.queue(at, &note);
            }
        }
        if self.ring.len() == RING_LINES {
            self.ring.pop_front();
        }
        self.ring.push_back((at, note));
    }

    /// Closes the books of a second that is over.
    pub(super) fn turn(&mut self, now: Timestamp) {
        let second = now.0.div_euclid(MICROS_PER_SECOND);
        if second == self.second {
            return;
        }
        self.second = second;
        let lines = mem::take(&mut self.payload_lines);
        if let Some(more) = lines.checked_sub(STDOUT_LINES_PER_SECOND).filter(|more| *more > 0) {
            let text = format!("... and {more} more payload lines in the last second, see /logging");
            self.print(now, &Note::Text(text.into()));
        }
        if let Some(more) = lines.checked_sub(LEADER_LINES_PER_SECOND).filter(|more| *more > 0) {
            let text = format!("... and {more} more payload lines in the last second");
            self.queue(now, &Note::Text(text.into()));
        }
    }

    pub(super) fn take_output(&mut self) -> String {
        mem::take(&mut self.output)
    }

    pub(super) fn has_news(&self) -> bool {
        !self.to_leader.is_empty()
    }

    pub(super) fn take_for_leader(&mut self) -> Vec<LogLine> {
        let lost = mem::take(&mut self.lost);
        let mut lines: Vec<LogLine> = mem::take(&mut self.to_leader).into();
        if let (1.., Some(first)) = (lost, lines.first()) {
            let message = format!("... {lost} older lines were dropped while there was no leader");
            lines.insert(0, LogLine { at: first.at, task: None, message });
        }
        lines
    }

    pub(super) fn last(&self, limit: usize) -> Vec<(Timestamp, String)> {
        let skipped = self.ring.len().saturating_sub(limit);
        self.ring.iter().skip(skipped).map(|(at, note)| (*at, note.to_string())).collect()
    }

    fn print(&mut self, at: Timestamp, note: &Note) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.output, "{at} {note}");
    }

    fn queue(&mut self, at: Timestamp, note: &Note) {
        if self.to_leader.len() == WAITING_LINES {
            self.to_leader.pop_front();
            self.lost += 1;
        }
        self.to_leader.push_back(LogLine { at, task: note.task(), message: note.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_protocol::TaskId;

    fn second(n: i64) -> Timestamp {
        Timestamp(n * MICROS_PER_SECOND)
    }

    #[test]
    fn a_line_reaches_all_three_readers() {
        let mut record = Record::default();
        let task = TaskId::now();
        record.note(second(1), Note::ReceivedPayload(task));
        let words = format!("Received payload: {task}");
        assert_eq!(record.last(10), [(second(1), words.clone())]);
        assert_eq!(record.take_output(), format!("1970-01-01T00:00:01.000000Z {words}\n"));
        let sent = record.take_for_leader();
        assert_eq!(sent, [LogLine { at: second(1), task: Some(task), message: words }]);
        assert!(!record.has_news());
    }

    #[test]
    fn a_flood_of_payload_lines_is_cut_and_counted_while_the_page_has_them_all() {
        let mut record = Record::default();
        let task = TaskId::now();
        for _ in 0..1_500 {
            record.note(second(1), Note::ReceivedPayload(task));
        }
        record.turn(second(2));
        let output = record.take_output();
        assert_eq!(output.lines().count(), 201);
        assert!(output.ends_with("... and 1300 more payload lines in the last second, see /logging\n"));
        let sent = record.take_for_leader();
        assert_eq!(sent.len(), 1_001);
        assert_eq!(sent[1_000].message, "... and 500 more payload lines in the last second");
        assert_eq!(record.last(usize::MAX).len(), 1_500);
    }

    #[test]
    fn other_lines_are_never_cut() {
        let mut record = Record::default();
        for _ in 0..1_500 {
            record.note(second(1), Note::Text("word".into()));
        }
        record.turn(second(2));
        assert_eq!(record.take_output().lines().count(), 1_500);
        assert_eq!(record.take_for_leader().len(), 1_500);
    }

    #[test]
    fn what_waits_for_a_leader_is_bounded_and_its_loss_is_said() {
        let mut record = Record::default();
        for n in 0..2_005 {
            record.note(second(1), Note::Text(n.to_string().into()));
        }
        let sent = record.take_for_leader();
        assert_eq!(sent[0].message, "... 5 older lines were dropped while there was no leader");
        assert_eq!((sent[1].message.as_str(), sent.len()), ("5", 2_001));
        assert_eq!(record.last(2)[0].1, "2003");
    }
}
