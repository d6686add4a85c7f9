//! Everybody's log lines on their way to the store, and the numbers under which containers are
//! registered.

use std::collections::BTreeMap;

use clb_protocol::link::{ContainerIdentity, LogLine};
use clb_protocol::{ContainerId, ContainerNo, LogSeq, TaskId, Timestamp};

use crate::store::{Batch, LogEntry, Registration};

/// The registry of containers and the lines that are not committed yet.
#[derive(Debug)]
pub(crate) struct Logbook {
    numbers: BTreeMap<(String, ContainerId), ContainerNo>,
    names: BTreeMap<ContainerNo, String>,
    last_number: ContainerNo,
    last_line: LogSeq,
    lines: Vec<LogEntry>,
    registrations: Vec<Registration>,
}

impl Logbook {
    /// Goes on where the former leader stopped.
    pub(crate) fn resume(known: &[Registration], last_line: LogSeq) -> Self {
        let numbers =
            known.iter().map(|entry| ((entry.identity.name.clone(), entry.identity.id.clone()), entry.no));
        Self {
            numbers: numbers.collect(),
            names: known.iter().map(|entry| (entry.no, entry.identity.name.clone())).collect(),
            last_number: known.iter().map(|entry| entry.no).max().unwrap_or_default(),
            last_line,
            lines: Vec::new(),
            registrations: Vec::new(),
        }
    }

    /// The number of a container; a new one registers.
    pub(crate) fn number(&mut self, identity: &ContainerIdentity, now: Timestamp) -> ContainerNo {
        let key = (identity.name.clone(), identity.id.clone());
        if let Some(no) = self.numbers.get(&key) {
            return *no;
        }
        self.last_number = self.last_number.next();
        self.numbers.insert(key, self.last_number);
        self.names.insert(self.last_number, identity.name.clone());
        self.registrations.push(Registration { no: self.last_number, identity: identity.clone(), at: now });
        self.last_number
    }

    /// The name of the container that has this number.
    pub(crate) fn name(&self, container: ContainerNo) -> Option<&str> {
        self.names.get(&container).map(String::as_str)
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
        self.lines.push(LogEntry { seq: self.last_line, at, container, task, message });
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
        batch.containers.append(&mut self.registrations);
    }
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
}
