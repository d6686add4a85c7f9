//! An orchestrator's own log: the last lines for its page, all of them for standard output, and those
//! that the store has not got yet for whoever leads.
//!
//! Under load the lines on single payloads are bounded on the page and on standard output; what is left
//! out is counted and said. The store gets every line.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clb_protocol::Timestamp;
use clb_protocol::link::LogLine;
use tokio::sync::Notify;

/// How many lines the page shows.
const PAGE_LINES: usize = 2_000;
/// How many lines wait for a leader at most; the oldest go first.
const UNSENT_LINES: usize = 1_000;
/// How many lines on payloads are shown in one second.
const SHOWN_PER_SECOND: u32 = 200;
const SECOND_US: i64 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    record: Mutex<Record>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Record {
    page: VecDeque<LogLine>,
    unsent: VecDeque<LogLine>,
    second: i64,
    shown: u32,
    left_out: u32,
}

impl Journal {
    /// Writes a line of this orchestrator that the store is still to get.
    pub(crate) fn write(&self, message: &str) {
        let line = LogLine { at: Timestamp::now(), task: None, message: message.to_owned() };
        let mut record = self.record();
        if record.unsent.len() == UNSENT_LINES {
            record.unsent.pop_front();
        }
        record.unsent.push_back(line.clone());
        record.show(line);
        drop(record);
        self.news.notify_one();
    }

    /// Shows a line that goes to the store on another way.
    pub(crate) fn show(&self, line: &LogLine) {
        let mut record = self.record();
        if record.may_show(line) {
            record.show(line.clone());
        }
    }

    /// Its last lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.record().page.iter().cloned().collect()
    }

    /// Waits until there are lines for the store.
    pub(crate) async fn has_unsent(&self) {
        while self.record().unsent.is_empty() {
            self.news.notified().await;
        }
    }

    /// Takes the lines that the store is still to get, oldest first.
    pub(crate) fn take_unsent(&self) -> Vec<LogLine> {
        self.record().unsent.drain(..).collect()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Each line is whole on its own: a panic elsewhere cannot have left half of one.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn may_show(&mut self, line: &LogLine) -> bool {
        let second = line.at.0 / SECOND_US;
        if second != self.second {
            let left_out = std::mem::take(&mut self.left_out);
            (self.second, self.shown) = (second, 0);
            if left_out > 0 {
                let message = format!("... and {left_out} more lines, which the database has");
                self.show(LogLine { at: line.at, task: None, message });
            }
        }
        if line.task.is_none() {
            return true;
        }
        self.shown += 1;
        let may = self.shown <= SHOWN_PER_SECOND;
        self.left_out += u32::from(!may);
        may
    }

    fn show(&mut self, line: LogLine) {
        tracing::info!("{}", line.message);
        if self.page.len() == PAGE_LINES {
            self.page.pop_front();
        }
        self.page.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use clb_protocol::TaskId;

    use super::*;

    fn line(second: i64, task: u8) -> LogLine {
        let task = Some(TaskId::from_bytes([task; 16]));
        LogLine { at: Timestamp(second * SECOND_US), task, message: "Received payload".to_owned() }
    }

    #[test]
    fn own_lines_are_on_the_page_and_wait_for_the_store() {
        let journal = Journal::default();
        journal.write("one");
        assert_eq!(journal.lines().len(), 1);
        assert_eq!(journal.take_unsent()[0].message, "one");
        assert!(journal.take_unsent().is_empty());
    }

    #[test]
    fn lines_on_payloads_are_bounded_by_the_second_and_the_rest_is_counted() {
        let journal = Journal::default();
        for _ in 0..SHOWN_PER_SECOND + 5 {
            journal.show(&line(1, 7));
        }
        assert_eq!(journal.lines().len(), SHOWN_PER_SECOND as usize);
        journal.show(&line(2, 7));
        let lines = journal.lines();
        assert_eq!(lines.len(), SHOWN_PER_SECOND as usize + 2);
        assert!(lines[SHOWN_PER_SECOND as usize].message.contains("5 more lines"));
        assert!(journal.take_unsent().is_empty());
    }
}
