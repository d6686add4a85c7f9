//! The changes of a term as events for whoever listens, kept for a while so that a listener that was
//! cut off can go on where it was.
//!
//! An event is published when what it tells is on disk. While nobody has listened for a while, nothing
//! is kept. A listener that is slower than the ring is long has a gap and is told so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clb_core::output::{Change, Ending};
use clb_protocol::api::{LogView, TaskEvent, TaskState};
use clb_protocol::{ContainerNo, Epoch, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use super::logbook::Logbook;
use crate::store::Batch;

/// How many events are kept.
const KEPT: usize = 8_192;
/// For how long events are kept though nobody listens.
const LISTENED: Duration = Duration::from_mins(1);
/// How many events a listener is given at once.
const PIECE: usize = 256;

/// Where a listener stands; the next event that it wants.
pub(crate) type Cursor = u64;

/// What a listener gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Events in `text/event-stream`, in order.
    pub(crate) frames: Vec<Bytes>,
    /// Whether some were missed before them.
    pub(crate) has_gap: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    epoch: Epoch,
    ring: Mutex<Ring>,
    listened_at: AtomicI64,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the oldest event that is kept.
    first: Cursor,
    frames: VecDeque<Bytes>,
}

impl Feed {
    /// A feed and the signal that there is news; the signal ends with the term.
    pub(super) fn new(epoch: Epoch) -> (Arc<Self>, watch::Sender<Cursor>) {
        let feed = Self { epoch, ring: Mutex::default(), listened_at: AtomicI64::new(i64::MIN) };
        (Arc::new(feed), watch::Sender::new(0))
    }

    /// Where a new listener begins, which is now.
    pub(crate) fn end(&self) -> Cursor {
        self.listen();
        self.ring().end()
    }

    /// Where a listener goes on whose last event had this id; `None` when that is not known any more.
    pub(crate) fn after(&self, id: &str) -> Option<Cursor> {
        self.listen();
        let (epoch, number) = id.split_once('-')?;
        let next = number.parse::<Cursor>().ok()?.checked_add(1)?;
        let ring = self.ring();
        let is_kept = epoch.parse() == Ok(self.epoch.0) && (ring.first..=ring.end()).contains(&next);
        is_kept.then_some(next)
    }

    /// The id of the event before `cursor`.
    pub(crate) fn id_before(&self, cursor: Cursor) -> String {
        format!("{}-{}", self.epoch, cursor.saturating_sub(1))
    }

    /// The next events from `cursor` on, which is moved behind them.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Piece {
        self.listen();
        let ring = self.ring();
        let has_gap = *cursor < ring.first;
        let from = (*cursor).max(ring.first);
        let skipped = usize::try_from(from - ring.first).unwrap_or(usize::MAX);
        let frames: Vec<Bytes> = ring.frames.iter().skip(skipped).take(PIECE).cloned().collect();
        *cursor = from + frames.len() as Cursor;
        Piece { frames, has_gap }
    }

    /// Publishes what a committed batch says.
    pub(super) fn publish(&self, batch: &Batch, logbook: &Logbook, news: &watch::Sender<Cursor>) {
        let is_heard = Timestamp::now().0 < self.listened_at.load(Ordering::Relaxed);
        let mut ring = self.ring();
        if is_heard {
            for event in batch.changes.iter().filter_map(task_event) {
                ring.push(self.epoch, "task", &event);
            }
            for line in &batch.logs {
                let view = LogView {
                    seq: line.seq,
                    at: line.at,
                    container: name_of(logbook, line.container),
                    container_id: line.container,
                    task: line.task,
                    message: line.message.clone(),
                };
                ring.push(self.epoch, "log", &view);
            }
        } else {
            ring.first = ring.end() + 1;
            ring.frames.clear();
        }
        let end = ring.end();
        drop(ring);
        news.send_if_modified(|seen| std::mem::replace(seen, end) != end);
    }

    fn listen(&self) {
        let until = Timestamp::now() + LISTENED;
        self.listened_at.store(until.0, Ordering::Relaxed);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn end(&self) -> Cursor {
        self.first + self.frames.len() as Cursor
    }

    fn push(&mut self, epoch: Epoch, name: &str, data: &impl Serialize) {
        let id = format!("{epoch}-{}", self.end());
        if self.frames.len() == KEPT {
            self.frames.pop_front();
            self.first += 1;
        }
        self.frames.push_back(frame(name, Some(&id), data));
    }
}

/// One event in `text/event-stream`.
pub(crate) fn frame(name: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(256);
    if let Some(id) = id {
        text.extend_from_slice(b"id: ");
        text.extend_from_slice(id.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    // JSON has no line ends outside of strings, and escapes them inside.
    drop(serde_json::to_writer(&mut text, data));
    text.extend_from_slice(b"\n\n");
    text.into()
}

fn name_of(logbook: &Logbook, container: ContainerNo) -> String {
    logbook.name(container).unwrap_or_default().to_owned()
}

fn task_event(change: &Change) -> Option<TaskEvent> {
    let event = |id, state, worker, attempt, at| TaskEvent { id, state, worker, attempt, group: None, at };
    Some(match change {
        Change::TaskAccepted { at, task, .. } => {
            TaskEvent { group: task.group.clone(), ..event(task.id, TaskState::Queued, None, None, *at) }
        }
        Change::AttemptStarted { task, attempt, worker, at, .. } => {
            event(*task, TaskState::Running, Some(worker.name()), Some(*attempt), *at)
        }
        Change::AttemptEnded { task, attempt, at, .. } => {
            event(*task, TaskState::Queued, None, Some(*attempt), *at)
        }
        Change::TaskEnded { task, at, ending, last, .. } => {
            let state = match ending {
                Ending::Succeeded(_) => TaskState::Succeeded,
                Ending::Failed(_) => TaskState::Failed,
                Ending::Cancelled => TaskState::Cancelled,
            };
            let worker = last.as_ref().map(|last| last.worker.name());
            event(*task, state, worker, last.as_ref().map(|last| last.attempt), *at)
        }
        Change::AttemptJudged { .. } | Change::SlotFilled { .. } | Change::Died(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use clb_protocol::{LogSeq, OutcomeSeq, TaskId};

    use super::*;

    fn batch(task: u8) -> Batch {
        let (seq, at, ending) = (OutcomeSeq(1), Timestamp(1), Ending::Cancelled);
        let task = TaskId::from_bytes([task; 16]);
        Batch { changes: vec![Change::TaskEnded { seq, task, at, ending, last: None }], ..Batch::default() }
    }

    fn feed() -> (Arc<Feed>, impl Fn(u8)) {
        let (feed, news) = Feed::new(Epoch(3));
        let publisher = Arc::clone(&feed);
        let logbook = Logbook::resume(&[], LogSeq(0));
        (feed, move |task| publisher.publish(&batch(task), &logbook, &news))
    }

    #[test]
    fn a_listener_gets_what_comes_after_it_began() {
        let (feed, publish) = feed();
        publish(1);
        let mut cursor = feed.end();
        publish(2);
        let piece = feed.read(&mut cursor);
        assert_eq!((piece.frames.len(), piece.has_gap), (1, false));
        let text = String::from_utf8(piece.frames[0].to_vec()).unwrap();
        assert!(text.starts_with("id: 3-1\nevent: task\ndata: {\"id\":\"02020202-"), "{text}");
        assert!(text.ends_with("}\n\n"), "{text}");
        assert!(feed.read(&mut cursor).frames.is_empty());
    }

    #[test]
    fn one_that_was_cut_off_goes_on_where_it_was() {
        let (feed, publish) = feed();
        let mut cursor = feed.end();
        publish(1);
        publish(2);
        feed.read(&mut cursor);
        publish(3);
        let last = feed.id_before(cursor);
        let mut again = feed.after(&last).unwrap();
        assert_eq!(feed.read(&mut again).frames.len(), 1);
    }

    #[test]
    fn ids_of_another_term_or_of_nothing_are_not_known() {
        let (feed, publish) = feed();
        feed.end();
        publish(1);
        for id in ["2-0", "3-9", "", "x", "3-", "3-18446744073709551615", "-1"] {
            assert_eq!(feed.after(id), None, "{id}");
        }
    }

    #[test]
    fn a_slow_listener_is_told_of_its_gap() {
        let (feed, publish) = feed();
        let mut cursor = feed.end();
        for _ in 0..=KEPT {
            publish(1);
        }
        assert!(feed.read(&mut cursor).has_gap);
        assert!(!feed.read(&mut cursor).has_gap);
    }

    #[test]
    fn what_nobody_listens_to_is_not_kept_and_its_listener_has_a_gap_later() {
        let (feed, publish) = feed();
        let mut cursor = 0;
        publish(1);
        assert!(feed.read(&mut cursor).has_gap);
    }
}
