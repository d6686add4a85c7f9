//! The changes of a term as events for whoever listens, kept for a while so that a listener that was
//! cut off can go on where it was.
//!
//! An event is published when what it tells is on disk. While nobody has listened for a while, nothing
//! is kept. A listener that is slower than the ring is long has a gap and is told so.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clb_core::output::Change;
use clb_protocol::api::{LogView, Progress, TaskEvent, TaskState};
use clb_protocol::{AttemptNo, ContainerNo, Epoch, TaskId};
use clb_store::Batch;
use tokio::sync::watch;

use super::event::{Event, frame, task_event};
use super::groups::Groups;
use super::logbook::Logbook;
use super::progress::Board;

/// How many events are kept.
const KEPT: usize = 8_192;
/// For how long events are kept though nobody listens.
const LISTENED: Duration = Duration::from_mins(1);
/// How many events a listener is given at once.
const PIECE: usize = 256;

/// Where a listener stands; the next event that it wants.
pub(crate) type Cursor = u64;

/// Which events a listener wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Tasks that changed.
    pub(crate) tasks: bool,
    /// Lines of all containers.
    pub(crate) logs: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    epoch: Epoch,
    ring: Mutex<Ring>,
    listened_until: AtomicU64,
    began: Instant,
    board: Board,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the oldest event that is kept.
    first: Cursor,
    events: VecDeque<Event>,
    groups: Groups,
}

impl Feed {
    /// A feed and the signal that there is news; the signal ends with the term.
    pub(super) fn new(epoch: Epoch) -> (Arc<Self>, watch::Sender<Cursor>) {
        let feed = Self {
            epoch,
            ring: Mutex::default(),
            listened_until: AtomicU64::new(0),
            began: Instant::now(),
            board: Board::default(),
        };
        (Arc::new(feed), watch::Sender::new(0))
    }

    /// Notes the group of a task that was open before the term.
    pub(super) fn resume(&self, task: TaskId, group: &str) {
        self.ring().groups.insert(task, group);
    }

    /// How far running tasks are.
    pub(crate) fn board(&self) -> &Board {
        &self.board
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

    /// Writes the next events from `cursor` on, which is moved behind them, as `text/event-stream`.
    /// Says whether there was anything at all, wanted or not.
    pub(crate) fn read(&self, cursor: &mut Cursor, wanted: Wanted, text: &mut BytesMut) -> bool {
        self.listen();
        let (events, has_gap) = {
            let ring = self.ring();
            let has_gap = *cursor < ring.first;
            *cursor = (*cursor).max(ring.first);
            let skipped = usize::try_from(*cursor - ring.first).unwrap_or(usize::MAX);
            let events: Vec<Event> = ring.events.iter().skip(skipped).take(PIECE).cloned().collect();
            (events, has_gap)
        };
        if has_gap {
            self.write_gap(*cursor, text);
        }
        let has_any = has_gap || !events.is_empty();
        for event in events {
            let id = format!("{}-{cursor}", self.epoch);
            *cursor += 1;
            match event {
                Event::Task(task) if wanted.tasks => frame(text, "task", Some(&id), &task),
                Event::Log(line) if wanted.logs => frame(text, "log", Some(&id), &line),
                Event::Task(_) | Event::Log(_) => {}
            }
        }
        has_any
    }

    /// Tells a listener that it missed what was before `cursor`.
    pub(crate) fn write_gap(&self, cursor: Cursor, text: &mut BytesMut) {
        let id = format!("{}-{}", self.epoch, cursor.saturating_sub(1));
        frame(text, "gap", Some(&id), &serde_json::json!({}));
    }

    /// Publishes what a committed batch says, but for the submissions that were left out of it.
    pub(super) fn publish(
        &self,
        batch: &Batch,
        left_out: &BTreeSet<TaskId>,
        logbook: &Logbook,
        news: &watch::Sender<Cursor>,
    ) {
        let is_heard = self.is_heard();
        let mut ring = self.ring();
        for change in &batch.changes {
            ring.take_in(change, left_out, is_heard, &self.board);
        }
        if is_heard {
            for line in &batch.logs {
                ring.push(Event::Log(LogView {
                    seq: line.seq,
                    at: line.at,
                    container: name_of(logbook, line.container),
                    container_id: line.container,
                    task: line.task,
                    message: line.message.clone(),
                }));
            }
        } else {
            ring.first = ring.end() + 1;
            ring.events.clear();
        }
        let end = ring.end();
        drop(ring);
        news.send_if_modified(|seen| std::mem::replace(seen, end) != end);
    }

    /// Publishes how far a running task is.
    pub(super) fn publish_progress(
        &self,
        task: TaskId,
        attempt: AttemptNo,
        worker: String,
        progress: Progress,
        news: &watch::Sender<Cursor>,
    ) {
        self.board.put(task, attempt, progress.clone());
        if !self.is_heard() {
            return;
        }
        let mut ring = self.ring();
        let event = TaskEvent {
            id: task,
            state: TaskState::Running,
            worker: Some(worker),
            attempt: Some(attempt),
            group: ring.groups.get(task).map(str::to_owned),
            at: progress.at,
            progress: Some(progress),
        };
        ring.push(Event::Task(event));
        let end = ring.end();
        drop(ring);
        news.send_replace(end);
    }

    fn is_heard(&self) -> bool {
        self.age_us() < self.listened_until.load(Ordering::Relaxed)
    }

    fn listen(&self) {
        let until = self.age_us() + LISTENED.as_micros() as u64;
        self.listened_until.store(until, Ordering::Relaxed);
    }

    fn age_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn end(&self) -> Cursor {
        self.first + self.events.len() as Cursor
    }

    fn take_in(&mut self, change: &Change, left_out: &BTreeSet<TaskId>, is_heard: bool, board: &Board) {
        if let Change::TaskAccepted { task, .. } = change {
            if left_out.contains(&task.id) {
                return;
            }
            if let Some(group) = &task.group {
                self.groups.insert(task.id, group);
            }
        }
        if is_heard && let Some(mut event) = task_event(change) {
            event.group = self.groups.get(event.id).map(str::to_owned);
            if event.state == TaskState::Running {
                event.progress = board.of(event.id, event.attempt);
            }
            self.push(Event::Task(event));
        }
        if let Change::TaskEnded { task, .. } = change {
            self.groups.remove(*task);
        }
    }

    fn push(&mut self, event: Event) {
        if self.events.len() == KEPT {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(event);
    }
}

fn name_of(logbook: &Logbook, container: ContainerNo) -> String {
    logbook.name(container).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clb_core::output::Ending;
    use clb_protocol::{LogSeq, OutcomeSeq, Timestamp};

    use super::*;

    fn batch(task: u8) -> Batch {
        let (seq, at, ending) = (OutcomeSeq(1), Timestamp(1), Ending::Cancelled);
        let task = TaskId::from_bytes([task; 16]);
        Batch { changes: vec![Change::TaskEnded { seq, task, at, ending, last: None }], ..Batch::default() }
    }

    fn feed() -> (Arc<Feed>, impl Fn(u8)) {
        let groups = [(TaskId::from_bytes([9; 16]), "nightly".to_owned())];
        let (feed, news) = Feed::new(Epoch(3));
        for (task, group) in &groups {
            feed.resume(*task, group);
        }
        let publisher = Arc::clone(&feed);
        let logbook = Logbook::resume(&[], LogSeq(0));
        (feed, move |task| publisher.publish(&batch(task), &BTreeSet::new(), &logbook, &news))
    }

    const ALL: Wanted = Wanted { tasks: true, logs: true };

    fn read(feed: &Feed, cursor: &mut Cursor) -> String {
        let mut text = BytesMut::new();
        feed.read(cursor, ALL, &mut text);
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn count(text: &str, name: &str) -> usize {
        text.matches(&format!("event: {name}\n")).count()
    }

    #[test]
    fn a_listener_gets_what_comes_after_it_began() {
        let (feed, publish) = feed();
        publish(1);
        let mut cursor = feed.end();
        publish(2);
        let text = read(&feed, &mut cursor);
        assert!(text.starts_with("id: 3-1\nevent: task\ndata: {\"id\":\"02020202-"), "{text}");
        assert!(text.ends_with("}\n\n"), "{text}");
        assert!(read(&feed, &mut cursor).is_empty());
    }

    #[test]
    fn the_end_of_a_task_says_what_it_belonged_to() {
        let (feed, publish) = feed();
        let mut cursor = feed.end();
        publish(9);
        assert!(read(&feed, &mut cursor).contains(r#""group":"nightly""#));
        publish(9);
        assert!(read(&feed, &mut cursor).contains(r#""group":null"#), "it is forgotten after its end");
    }

    #[test]
    fn what_is_not_wanted_is_passed_over() {
        let (feed, publish) = feed();
        let mut cursor = feed.end();
        publish(1);
        let mut text = BytesMut::new();
        assert!(feed.read(&mut cursor, Wanted { tasks: false, logs: true }, &mut text));
        assert!(text.is_empty());
        assert_eq!(cursor, feed.end());
    }

    #[test]
    fn one_that_was_cut_off_goes_on_where_it_was() {
        let (feed, publish) = feed();
        let mut cursor = feed.end();
        publish(1);
        publish(2);
        read(&feed, &mut cursor);
        publish(3);
        let mut again = feed.after(&format!("3-{}", cursor - 1)).unwrap();
        assert_eq!(count(&read(&feed, &mut again), "task"), 1);
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
        assert!(read(&feed, &mut cursor).starts_with("id: 3-0\nevent: gap\n"));
        assert_eq!(count(&read(&feed, &mut cursor), "gap"), 0);
    }

    #[test]
    fn what_nobody_listens_to_is_not_kept_and_its_listener_has_a_gap_later() {
        let (feed, publish) = feed();
        let mut cursor = 0;
        publish(1);
        assert_eq!(count(&read(&feed, &mut cursor), "gap"), 1);
    }
}
