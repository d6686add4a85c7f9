//! Standard output: every new log line as `1,Is master container`, a bounded number of them a second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_outlet::Outlet;
use clb_protocol::api::LogView;
use clb_protocol::{ContainerId, LogSeq, Timestamp};
use clb_store::{LogFilter, LogFrom, Reader, Result};
use tokio::time::{MissedTickBehavior, interval};

use super::source::Source;

/// How often to look for new lines.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The most lines a second; the others are counted.
const LINES_PER_SECOND: usize = 200;
/// How much of a long log a new container begins with.
const FIRST_LINES: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Where in the log the output is.
pub(super) struct Follower {
    source: Source,
    myself: ContainerId,
    started_at: Timestamp,
    place: Option<(Arc<dyn Reader>, LogSeq)>,
    second: Option<Instant>,
    left: usize,
    skipped: u64,
}

impl Follower {
    /// Begins with the last lines in a new container, and where it is now in one that was started again.
    pub(super) fn new(source: Source, myself: ContainerId, started_at: Timestamp) -> Self {
        Self { source, myself, started_at, place: None, second: None, left: 0, skipped: 0 }
    }

    /// What is to be written now.
    fn news(&mut self, now: Instant) -> Result<String> {
        let mut text = String::new();
        if self.second.is_none_or(|second| now.duration_since(second) >= SECOND) {
            if self.skipped > 0 {
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "... and {} more lines", self.skipped);
            }
            (self.second, self.left, self.skipped) = (Some(now), LINES_PER_SECOND, 0);
        }
        let reader = self.source.reader()?;
        let mut seq = match &self.place {
            Some((known, seq)) if Arc::ptr_eq(known, &reader) => *seq,
            _ => self.beginning(&*reader)?,
        };
        if self.left > 0 {
            let read = reader.logs(&LogFilter::default(), LogFrom::After(seq), self.left)?;
            self.left -= read.logs.len();
            seq = read.newer;
            for line in &read.logs {
                write_line(&mut text, line);
            }
        }
        if self.left == 0 {
            let newest = newest(&*reader)?;
            self.skipped += newest.0.saturating_sub(seq.0);
            seq = seq.max(newest);
        }
        self.place = Some((reader, seq));
        Ok(text)
    }

    fn beginning(&self, reader: &dyn Reader) -> Result<LogSeq> {
        let containers = reader.containers()?;
        let is_earlier_me =
            containers.iter().any(|it| it.identity.id == self.myself && it.at < self.started_at);
        if is_earlier_me {
            return newest(reader);
        }
        let last = reader.logs(&LogFilter::default(), LogFrom::End, FIRST_LINES)?;
        Ok(last.logs.first().map_or(last.newer, |first| LogSeq(first.seq.0.saturating_sub(1))))
    }
}

fn newest(reader: &dyn Reader) -> Result<LogSeq> {
    Ok(reader.logs(&LogFilter::default(), LogFrom::End, 1)?.newer)
}

/// One line is one line, whatever a message has in it.
fn write_line(text: &mut String, line: &LogView) {
    let _ = write!(text, "{},", line.container_id);
    for letter in line.message.chars() {
        if letter.is_control() {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    text.push('\n');
}

/// Writes what is new, once; says what was in the way. `None` after a defect.
pub(super) async fn look(mut follower: Follower, output: &Outlet) -> Option<(Follower, String)> {
    let output = output.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let trouble = match follower.news(Instant::now()) {
            Ok(text) => {
                output.put(text.as_bytes());
                String::new()
            }
            Err(error) => error.to_string(),
        };
        (follower, trouble)
    });
    looked.await.ok()
}

/// Writes what is new, without end.
pub(super) async fn follow(mut follower: Follower, output: Outlet) {
    let mut clock = interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        clock.tick().await;
        let Some((back, trouble)) = look(follower, &output).await else {
            tracing::error!("new lines are no longer written here; the pages still have them");
            return;
        };
        follower = back;
        if trouble != told {
            if trouble.is_empty() {
                tracing::info!("the store can be read again");
            } else {
                tracing::warn!("no lines are read: {trouble}");
            }
            told = trouble;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Stored;
    use super::*;

    fn follower(stored: &Stored) -> Follower {
        Follower::new(stored.source(), "new".into(), Timestamp::now())
    }

    #[test]
    fn every_new_line_is_written_once_with_its_container() {
        let stored = Stored::new();
        stored.log(1..=2, |seq| format!("line {seq}"));
        let mut follower = follower(&stored);
        let now = Instant::now();
        assert_eq!(follower.news(now).unwrap(), "1,line 1\n1,line 2\n");
        assert_eq!(follower.news(now).unwrap(), "");
        stored.log(3..=3, |_| "two\nlines\u{1b}[2J".to_owned());
        assert_eq!(follower.news(now).unwrap(), "1,two\\nlines\\u{1b}[2J\n");
    }

    #[test]
    fn a_flood_is_summed_up_once_a_second() {
        let stored = Stored::new();
        let mut follower = follower(&stored);
        let start = Instant::now();
        assert_eq!(follower.news(start).unwrap(), "");
        stored.log(1..=1_000, |seq| format!("line {seq}"));
        let text = follower.news(start).unwrap();
        assert_eq!(text.lines().count(), LINES_PER_SECOND);
        assert!(text.ends_with("1,line 200\n"));
        stored.log(1_001..=1_434, |seq| format!("line {seq}"));
        assert_eq!(follower.news(start + SECOND / 2).unwrap(), "");
        stored.log(1_435..=1_435, |seq| format!("line {seq}"));
        assert_eq!(follower.news(start + SECOND).unwrap(), "... and 1234 more lines\n1,line 1435\n");
        assert_eq!(follower.news(start + 2 * SECOND).unwrap(), "");
    }

    #[test]
    fn a_container_that_was_started_again_repeats_nothing() {
        let stored = Stored::new();
        stored.log(1..=2, |seq| format!("line {seq}"));
        // Registered as number 1 before the start.
        let mut follower = Follower::new(stored.source(), "id-1".into(), Timestamp(i64::MAX));
        assert_eq!(follower.news(Instant::now()).unwrap(), "");
        stored.log(3..=3, |seq| format!("line {seq}"));
        assert_eq!(follower.news(Instant::now()).unwrap(), "1,line 3\n");
    }

    #[test]
    fn a_new_container_begins_with_the_last_lines_of_a_long_log() {
        let stored = Stored::new();
        stored.log(1..=1_000, |seq| format!("line {seq}"));
        let text = follower(&stored).news(Instant::now()).unwrap();
        assert!(text.starts_with("1,line 901\n") && text.ends_with("1,line 1000\n"));
    }
}
