//! Everybody's log lines on their way to the store, and the numbers under which containers are
//! registered.

use std::collections::BTreeMap;

use clb_protocol::link::{ContainerIdentity, LogLine};
use clb_protocol::{ContainerId, ContainerNo, LogSeq, TaskId, Timestamp};
use clb_store::{Batch, LogEntry, Registration};

/// So many containers are known; beyond that those go that were not heard for the longest time.
const KEPT_CONTAINERS: usize = 10_000;
/// The most bytes of lines that wait for the store.
const WAITING_BYTES: usize = 32 << 20;

/// A container that registered.
#[derive(Debug)]
struct Known {
    name: String,
    id: ContainerId,
    /// When it was last heard, as a count of all that was heard.
    heard: u64,
}

/// The registry of containers and the lines that are not committed yet.
#[derive(Debug)]
pub(crate) struct Logbook {
    numbers: BTreeMap<(String, ContainerId), ContainerNo>,
    known: BTreeMap<ContainerNo, Known>,
    /// The leader's own, which is never forgotten.
    own: ContainerNo,
    heard: u64,
    last_number: ContainerNo,
    last_line: LogSeq,
    lines: Vec<LogEntry>,
    bytes: usize,
    /// The line that stands for those that had no room while the store took nothing, and how many they were.
    notice: Option<(LogSeq, u64)>,
    registrations: Vec<Registration>,
    forgotten: Vec<ContainerNo>,
}

impl Logbook {
    /// Goes on where the former leader stopped.
    pub(crate) fn resume(known: &[Registration], last_line: LogSeq) -> Self {
        let mut book = Self {
            numbers: BTreeMap::new(),
            known: BTreeMap::new(),
            own: ContainerNo::default(),
            heard: 0,
            last_number: known.iter().map(|entry| entry.no).max().unwrap_or_default(),
            last_line,
            lines: Vec::new(),
            bytes: 0,
            notice: None,
            registrations: Vec::new(),
            forgotten: Vec::new(),
        };
        for Registration { no, identity, .. } in known {
            book.enter(*no, identity);
        }
        book
    }

    /// The number of the leader's own container.
    pub(crate) fn introduce(&mut self, identity: &ContainerIdentity, now: Timestamp) -> ContainerNo {
        self.own = self.number(identity, now);
        self.own
    }

    /// The number of a container; a new one registers.
    pub(crate) fn number(&mut self, identity: &ContainerIdentity, now: Timestamp) -> ContainerNo {
        self.heard += 1;
        let key = (identity.name.clone(), identity.id.clone());
        if let Some(no) = self.numbers.get(&key) {
            if let Some(known) = self.known.get_mut(no) {
                known.heard = self.heard;
            }
            return *no;
        }
        self.last_number = self.last_number.next();
        let no = self.last_number;
        self.registrations.push(Registration { no, identity: identity.clone(), at: now });
        self.enter(no, identity);
        no
    }

    /// Takes one in, and lets those go that are too many.
    fn enter(&mut self, no: ContainerNo, identity: &ContainerIdentity) {
        let (name, id) = (identity.name.clone(), identity.id.clone());
        self.numbers.insert((name.clone(), id.clone()), no);
        self.known.insert(no, Known { name, id, heard: self.heard });
        while self.known.len() > KEPT_CONTAINERS {
            let others = self.known.iter().filter(|(other, _)| **other != no && **other != self.own);
            let Some(silent) = others.min_by_key(|(other, known)| (known.heard, **other)).map(|(no, _)| *no)
            else {
                return;
            };
            if let Some(Known { name, id, .. }) = self.known.remove(&silent) {
                self.numbers.remove(&(name, id));
            }
            self.forgotten.push(silent);
        }
    }

    /// The name of the container that has this number.
    pub(crate) fn name(&self, container: ContainerNo) -> Option<&str> {
        self.known.get(&container).map(|known| known.name.as_str())
    }

    /// Notes one line.
    pub(crate) fn write(
        &mut self,
        container: ContainerNo,
        at: Timestamp,
        task: Option<TaskId>,
        message: String,
    ) {
        self.last_line = self.last_line.next();
        let line = LogEntry { seq: self.last_line, at, container, task, message };
        self.bytes += weight(&line);
        self.lines.push(line);
        self.make_room();
    }

    /// Takes lines back that the store did not take.
    pub(crate) fn put_back(&mut self, mut lines: Vec<LogEntry>) {
        self.bytes += lines.iter().map(weight).sum::<usize>();
        lines.append(&mut self.lines);
        self.lines = lines;
        self.make_room();
    }

    /// Drops the oldest lines when there are too many, and says in their place how many they were.
    fn make_room(&mut self) {
        if self.bytes <= WAITING_BYTES {
            return;
        }
        // A good part of them at once: this is not done again for every line.
        let (mut count, mut freed) = (0, 0);
        while let Some(line) = self.lines.get(count).filter(|_| self.bytes - freed > WAITING_BYTES / 4 * 3) {
            (count, freed) = (count + 1, freed + weight(line));
        }
        let Some(last) = count.checked_sub(1).map(|last| &self.lines[last]) else { return };
        // The oldest may itself stand for others, and is none of them.
        let former = self.notice.filter(|(seq, _)| *seq == self.lines[0].seq);
        let dropped = former.map_or(count as u64, |(_, before)| before + count as u64 - 1);
        self.notice = Some((last.seq, dropped));
        let notice = LogEntry {
            seq: last.seq,
            at: last.at,
            container: self.own,
            task: None,
            message: format!("{dropped} log lines are missing here: the store took none"),
        };
        self.bytes = self.bytes - freed + weight(&notice);
        self.lines.splice(..count, [notice]);
    }

    /// Notes what a container handed in.
    pub(crate) fn take_in(
        &mut self,
        container: &ContainerIdentity,
        lines: Vec<LogLine>,
        now: Timestamp,
    ) -> ContainerNo {
        let no = self.number(container, now);
        for line in lines {
            self.write(no, line.at, line.task, line.message);
        }
        no
    }

    /// Moves everything that is new into a batch.
    pub(crate) fn drain_into(&mut self, batch: &mut Batch) {
        batch.logs.append(&mut self.lines);
        self.bytes = 0;
        batch.containers.append(&mut self.registrations);
        batch.forgotten.append(&mut self.forgotten);
    }
}

/// What a line takes in memory, in bytes.
fn weight(line: &LogEntry) -> usize {
    size_of::<LogEntry>() + line.message.len()
}

#[cfg(test)]
mod tests {
    use clb_protocol::link::ContainerRole;

    use super::*;

    fn identity(id: &str) -> ContainerIdentity {
        ContainerIdentity { name: "worker-1".into(), id: id.into(), role: ContainerRole::Worker }
    }

    #[test]
    fn a_container_keeps_its_number_and_its_replacement_gets_another() {
        let mut book = Logbook::resume(&[], LogSeq(0));
        assert_eq!(book.number(&identity("a"), Timestamp(0)), ContainerNo(1));
        assert_eq!(book.number(&identity("b"), Timestamp(0)), ContainerNo(2));
        assert_eq!(book.number(&identity("a"), Timestamp(0)), ContainerNo(1));
        let mut batch = Batch::default();
        book.drain_into(&mut batch);
        assert_eq!(batch.containers.len(), 2);
        let resumed = Logbook::resume(&batch.containers, LogSeq(9)).number(&identity("b"), Timestamp(1));
        assert_eq!(resumed, ContainerNo(2));
    }

    #[test]
    fn lines_are_numbered_without_gaps_from_where_the_former_leader_stopped() {
        let mut book = Logbook::resume(&[], LogSeq(9));
        book.write(ContainerNo(1), Timestamp(0), None, "one".into());
        book.write(ContainerNo(1), Timestamp(0), None, "two".into());
        let mut batch = Batch::default();
        book.drain_into(&mut batch);
        assert_eq!(batch.logs.iter().map(|line| line.seq.0).collect::<Vec<_>>(), [10, 11]);
    }

    #[test]
    fn lines_that_wait_for_the_store_are_bounded_and_their_place_says_how_many_are_missing() {
        let mut book = Logbook::resume(&[], LogSeq(0));
        let own = book.introduce(&identity("leader"), Timestamp(0));
        let message = "x".repeat(10_000);
        let mut written = 0;
        for _ in 0..20 {
            for _ in 0..1_000 {
                book.write(ContainerNo(7), Timestamp(0), None, message.clone());
                written += 1;
            }
            let mut batch = Batch::default();
            book.drain_into(&mut batch);
            book.put_back(batch.logs);
            let bytes: usize = book.lines.iter().map(weight).sum();
            assert!(bytes <= WAITING_BYTES && bytes == book.bytes, "{bytes}");
        }
        let notice = &book.lines[0];
        let missing = written - (book.lines.len() as u64 - 1);
        assert_eq!(notice.message, format!("{missing} log lines are missing here: the store took none"));
        assert_eq!((notice.container, notice.seq), (own, LogSeq(missing)));
        assert_eq!(book.lines.last().unwrap().seq, LogSeq(written));
    }

    #[test]
    fn only_so_many_containers_are_known_and_those_that_are_heard_stay() {
        let mut book = Logbook::resume(&[], LogSeq(0));
        let (own, client) = (identity("leader"), identity("client"));
        assert_eq!(book.introduce(&own, Timestamp(0)), ContainerNo(1));
        let number = book.number(&client, Timestamp(0));
        let mut stored = Vec::new();
        for n in 0..2 * KEPT_CONTAINERS {
            book.number(&identity(&n.to_string()), Timestamp(0));
            assert_eq!(book.number(&client, Timestamp(0)), number);
            let mut batch = Batch::default();
            book.drain_into(&mut batch);
            stored.extend(batch.containers);
            stored.retain(|entry| !batch.forgotten.contains(&entry.no));
        }
        assert_eq!((book.known.len(), book.numbers.len()), (KEPT_CONTAINERS, KEPT_CONTAINERS));
        assert_eq!(book.number(&own, Timestamp(0)), ContainerNo(1));
        assert_eq!(book.name(number), Some("worker-1"));
        assert_eq!(stored.len(), KEPT_CONTAINERS);
        assert!(stored.iter().all(|entry| book.known.contains_key(&entry.no)));
    }

    #[test]
    fn a_registry_that_is_too_long_is_shortened_by_the_next_leader() {
        let known: Vec<Registration> = (1..=KEPT_CONTAINERS as u32 + 5)
            .map(|n| Registration {
                no: ContainerNo(n),
                identity: identity(&n.to_string()),
                at: Timestamp(0),
            })
            .collect();
        let mut book = Logbook::resume(&known, LogSeq(0));
        let mut batch = Batch::default();
        book.drain_into(&mut batch);
        assert_eq!(batch.forgotten, [1, 2, 3, 4, 5].map(ContainerNo));
    }
}
