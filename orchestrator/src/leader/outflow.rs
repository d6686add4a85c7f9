//! What the loop does with each answer of the core, and what it lets go once a batch is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clb_core::clock::Moment;
use clb_core::input::{Input, LinkNo};
use clb_core::output::{Change, FleetAction, Note, Order, Output};
use clb_protocol::link::{LINE_SHARE_BYTES, LogLine, RunOrder, WorkerOrder};
use clb_protocol::{AttemptNo, TaskId, seed};
use clb_store::{Batch, Workload};

use super::commit::Release;
use super::fetcher::{Due, Fetched};
use super::inbox::Submitted;
use super::term::Term;

/// The loop turns twice a second at least; a longer pause means that this process was not run.
const SLEPT: Duration = Duration::from_millis(1_500);

/// With more lines to show nobody goes first any more.
const MOST_UNSHOWN: usize = 1_000;

impl Term {
    /// Nobody could be heard while this process was frozen or the machine slept.
    pub(super) fn notice_sleep(&mut self, now: Moment) {
        let has_slept = self.ran_at + SLEPT <= now;
        self.ran_at = now;
        if has_slept {
            self.roster.excuse_silence(now);
            self.handle(Input::Resumed, now);
        }
    }

    /// Lets the core decide and does what it says. The answers to callers are left in the output.
    pub(super) fn handle(&mut self, input: Input, now: Moment) -> Output {
        self.notice_sleep(now);
        if let Input::NotStored(ids) = &input {
            self.specs.forget(ids);
            self.recent.forget(ids);
        }
        let mut out = self.cluster.handle(input, now);
        self.specs.take_in(&out.changes, now.at);
        self.send_orders(&out.orders);
        for (link, task, attempt) in out.acks.drain(..) {
            self.pending.push_release(Release::Ack(link, task, attempt));
        }
        for action in out.fleet.drain(..) {
            match action {
                FleetAction::Probe { .. } | FleetAction::Measure { .. } => self.act(action),
                action => self.pending.push_release(Release::Fleet(action)),
            }
        }
        for link in out.dropped.drain(..) {
            self.links.close(link);
        }
        for note in out.notes.drain(..) {
            self.note(note, now);
        }
        for change in &out.changes {
            if let Change::TaskEnded { task, .. } = change {
                self.ending.insert(*task);
                self.pending.push_release(Release::Ended(*task));
            }
        }
        self.feed.board().take_in(&out.changes);
        self.followers.take_in(&out.changes, &self.cluster);
        for change in out.changes.drain(..) {
            self.recent.take_in(&change);
            self.pending.push(change);
        }
        if self.cluster.is_retired()
            && let Some(reply) = self.retirement.take()
        {
            let _ = reply.send(());
        }
        out
    }

    /// The fleet's task ends with the term; what it does not do any more, the next leader does.
    pub(super) fn act(&self, action: FleetAction) {
        drop(self.fleet.send(action));
    }

    fn send_orders(&mut self, orders: &[(LinkNo, Order)]) {
        let mut runs: BTreeMap<LinkNo, Vec<RunOrder>> = BTreeMap::new();
        let mut missing = Vec::new();
        for (link, order) in orders {
            match order {
                Order::Run(task, attempt) => match self.specs.take(*task) {
                    Some(work) => runs.entry(*link).or_default().push(run_order(*task, *attempt, work)),
                    None => missing.push(Due { link: *link, task: *task, attempt: *attempt }),
                },
                Order::Cancel(task, attempt) => {
                    self.links.send(*link, WorkerOrder::Cancel(vec![(*task, *attempt)]));
                }
            }
        }
        if !missing.is_empty() {
            self.fetcher.fetch(missing);
        }
        self.send_runs(runs);
    }

    /// Sends what was read from the store, as far as it is still to be run, and gives back the rest.
    pub(super) fn take_fetched(&mut self, fetched: Vec<Fetched>, now: Moment) {
        let mut runs: BTreeMap<LinkNo, Vec<RunOrder>> = BTreeMap::new();
        for (Due { link, task, attempt }, work) in fetched {
            let running = self.cluster.running_attempt(task);
            let lost = match work {
                Ok(work) if running.is_some_and(|running| running.attempt == attempt) => {
                    runs.entry(link).or_default().push(run_order(task, attempt, work));
                    continue;
                }
                Ok(_) => Input::OrderLost { link, task, attempt },
                Err(error) if error.is_transient() => {
                    self.suspend(error.to_string(), now);
                    Input::OrderLost { link, task, attempt }
                }
                Err(error) => Input::OrderUnreadable { link, task, attempt, reason: error.to_string() },
            };
            self.handle(lost, now);
        }
        self.send_runs(runs);
    }

    fn send_runs(&mut self, runs: BTreeMap<LinkNo, Vec<RunOrder>>) {
        for (link, orders) in runs {
            for line in in_lines(orders) {
                self.links.send(link, WorkerOrder::Run(line));
            }
        }
    }

    fn note(&mut self, note: Note, now: Moment) {
        let (task, message) = match note {
            Note::ReceivedPayload(id) => (Some(id), seed::received_payload(id)),
            Note::SentPayload(id, port) => (Some(id), seed::sent_payload(id, port)),
            Note::ReceivedResult(id) => (Some(id), seed::received_result(id)),
            Note::SentResult(id) => (Some(id), seed::sent_result_to_client(id, self.client_port)),
            Note::WorkerCrashed => (None, seed::WORKER_CRASHED.to_owned()),
            Note::Fleet(message) => (None, message),
        };
        self.logbook.write(self.own_number, now.at, task, message.clone());
        self.unshown.push(LogLine { at: now.at, task, message });
        self.pending.ride();
        if self.unshown.len() > MOST_UNSHOWN {
            self.show_notes();
        }
    }

    /// Answers those who wait for a task that a batch has ended, where it is at hand.
    pub(super) fn show_ended(&mut self, batch: &Batch) {
        for change in &batch.changes {
            let view = self.recent.take(change, |id| self.watchers.wait_for(id));
            let Some(view) = view.map(Box::new) else { continue };
            for watcher in self.watchers.take(view.id) {
                let _ = watcher.send(Some(view.clone()));
            }
        }
    }

    /// Sends what waited for a batch that is on disk now.
    pub(super) fn let_go(&mut self, releases: Vec<Release>, duplicates: &BTreeSet<TaskId>) {
        let mut acks: BTreeMap<LinkNo, Vec<_>> = BTreeMap::new();
        if releases.iter().any(|release| matches!(release, Release::Ended(_))) {
            self.progress.send_modify(|count| *count += 1);
        }
        for release in releases {
            match release {
                Release::Submission { mut statuses, reply } => {
                    for (id, status) in &mut statuses {
                        if matches!(status, Submitted::Accepted(_)) && duplicates.contains(id) {
                            *status = Submitted::Known;
                        }
                    }
                    // A caller that hung up gets its answer when it asks again.
                    drop(reply.send(statuses));
                }
                Release::Cancellation { receipts, reply } => drop(reply.send(Ok(receipts))),
                Release::Pool { answer, reply } => drop(reply.send(Ok(answer))),
                Release::Order { worker, reply } => drop(reply.send(Ok(worker.map(|worker| *worker)))),
                Release::Fleet(action) => self.act(action),
                Release::Ack(link, task, attempt) => acks.entry(link).or_default().push((task, attempt)),
                Release::Ended(id) => {
                    self.ending.remove(&id);
                    self.followers.end(id);
                    for watcher in self.watchers.take(id) {
                        let _ = watcher.send(None);
                    }
                }
            }
        }
        for (link, done) in acks {
            self.links.send(link, WorkerOrder::Ack(done));
        }
    }

    /// Shows the leader's own lines, once nobody waits for anything else.
    pub(super) fn show_notes(&mut self) {
        for line in self.unshown.drain(..) {
            self.journal.show(&line);
        }
    }
}

fn run_order(task: TaskId, attempt: AttemptNo, Workload { spec, group }: Workload) -> RunOrder {
    RunOrder { task, attempt, group, spec }
}

/// Cuts orders into lines that a worker takes in.
fn in_lines(orders: Vec<RunOrder>) -> Vec<Vec<RunOrder>> {
    let mut lines: Vec<Vec<RunOrder>> = Vec::new();
    let mut bytes = 0;
    for order in orders {
        bytes += order.spec.get().len();
        match lines.last_mut() {
            Some(line) if bytes <= LINE_SHARE_BYTES => line.push(order),
            _ => {
                bytes = order.spec.get().len();
                lines.push(vec![order]);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_large_orders_go_in_several_lines_and_small_ones_in_one() {
        let order = |bytes: usize| RunOrder {
            task: TaskId::now(),
            attempt: AttemptNo(1),
            group: None,
            spec: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
        };
        let sizes = [10, LINE_SHARE_BYTES / 2, LINE_SHARE_BYTES / 2, LINE_SHARE_BYTES * 2, 10, 10];
        let lines = in_lines(sizes.map(order).into());
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 2]);
        assert!(in_lines(Vec::new()).is_empty());
    }
}
