//! What this container has to say: its own log lines, shown on its page, written to its output and
//! handed in to the leader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::link::{ContainerIdentity, ContainerRole, LogHandIn, LogLine};
use clb_client::protocol::{ContainerId, TaskId, Timestamp};
use tokio::sync::watch;

/// Lines kept for the page.
const SHOWN: usize = 2_000;
/// Lines kept for the leader while there is none; the oldest go first.
const UNSENT: usize = 20_000;
/// Lines in one request.
const BATCH: usize = 2_000;
/// The pause after the cluster refused or could not be found.
const PAUSE: Duration = Duration::from_secs(1);

/// The log of this container.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: Mutex<Lines>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lines {
    shown: VecDeque<LogLine>,
    unsent: VecDeque<(u64, LogLine)>,
    written: u64,
}

impl Journal {
    /// Writes a line that speaks of no task.
    pub(crate) fn write(&self, message: String) {
        self.write_all([(None, message)]);
    }

    /// Writes a line that speaks of a task.
    pub(crate) fn write_of(&self, task: TaskId, message: String) {
        self.write_all([(Some(task), message)]);
    }

    /// Writes many lines.
    pub(crate) fn write_all(&self, new: impl IntoIterator<Item = (Option<TaskId>, String)>) {
        let at = Timestamp::now();
        let mut lines = self.lock();
        for (task, message) in new {
            tracing::info!("{message}");
            let line = LogLine { at, task, message };
            lines.written += 1;
            let number = lines.written;
            if lines.shown.len() == SHOWN {
                lines.shown.pop_front();
            }
            if lines.unsent.len() == UNSENT {
                lines.unsent.pop_front();
            }
            lines.shown.push_back(line.clone());
            lines.unsent.push_back((number, line));
        }
        let written = lines.written;
        drop(lines);
        self.written.send_replace(written);
    }

    /// The lines for the page, oldest first.
    pub(crate) fn recent(&self) -> Vec<LogLine> {
        self.lock().shown.iter().cloned().collect()
    }

    /// Changes whenever a line is written.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Hands in what is left, once.
    pub(crate) async fn hand_in_rest(&self, client: &Client) {
        let container = identity();
        while let Some((last, lines)) = self.next_batch() {
            let logs = LogHandIn { container: container.clone(), lines };
            if client.hand_in_logs(&logs).await.is_err() {
                return;
            }
            self.forget(last);
        }
    }

    fn next_batch(&self) -> Option<(u64, Vec<LogLine>)> {
        let lines = self.lock();
        let batch: Vec<&(u64, LogLine)> = lines.unsent.iter().take(BATCH).collect();
        let last = batch.last()?.0;
        Some((last, batch.into_iter().map(|(_, line)| line.clone()).collect()))
    }

    fn forget(&self, until: u64) {
        let mut lines = self.lock();
        let received = lines.unsent.partition_point(|(number, _)| *number <= until);
        lines.unsent.drain(..received);
        if lines.unsent.is_empty() {
            lines.unsent.shrink_to(BATCH);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands in every line as it is written, without end.
pub(crate) async fn hand_in(journal: Arc<Journal>, client: Client) {
    let container = identity();
    let mut news = journal.news();
    loop {
        news.borrow_and_update();
        let Some((last, lines)) = journal.next_batch() else {
            let _ = news.changed().await;
            continue;
        };
        let logs = LogHandIn { container: container.clone(), lines };
        match client.hand_in_logs(&logs).await {
            Ok(_) => journal.forget(last),
            Err(error) => {
                tracing::debug!("log lines are kept: {error}");
                if !error.is_retryable() {
                    journal.forget(last);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn identity() -> ContainerIdentity {
    static ID: std::sync::OnceLock<ContainerId> = std::sync::OnceLock::new();
    let id = ID.get_or_init(|| {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        ContainerId::in_mountinfo(&mounts).unwrap_or_else(|| TaskId::now().to_string().into())
    });
    ContainerIdentity { name: "client".to_owned(), id: id.clone(), role: ContainerRole::Client }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_shown_and_the_oldest_unsent_go_first() {
        let journal = Journal::default();
        let many = u32::try_from(UNSENT).unwrap() + 5;
        journal.write_all((0..many).map(|n| (None, format!("line {n}"))));
        let shown = journal.recent();
        assert_eq!(shown.len(), SHOWN);
        assert_eq!(shown[SHOWN - 1].message, format!("line {}", many - 1));
        assert_eq!(journal.next_batch().unwrap().1[0].message, "line 5");
    }

    #[test]
    fn lines_are_kept_until_they_are_received() {
        let journal = Journal::default();
        journal.write("a".into());
        let (last, lines) = journal.next_batch().unwrap();
        journal.write("b".into());
        assert_eq!(lines.len(), 1);
        journal.forget(last);
        assert_eq!(journal.next_batch().unwrap().1[0].message, "b");
    }
}
