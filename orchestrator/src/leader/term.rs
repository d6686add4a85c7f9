//! One term, from the restored state until somebody else leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clb_core::input::{Input, LinkNo};
use clb_core::lease::{RENEWAL_MS, TERM_MS};
use clb_core::output::{CancelReceipt, Change, FleetAction, Note, Order, Output, Receipt};
use clb_core::{Cluster, Config};
use clb_protocol::link::{
    ContainerIdentity, ContainerRole, RunOrder, Welcome, WorkerHello, WorkerOrder, WorkerReport,
};
use clb_protocol::task::NewTask;
use clb_protocol::{ContainerNo, Epoch, TaskId, Timestamp, seed};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::inbox::{Handle, Message, Standing, Submitted};
use super::links::Links;
use super::logbook::Logbook;
use super::specs::Specs;
use crate::store::{Batch, Committer, Done, Recovered, Store, StoreError};

/// The most messages that are handled before their changes are committed.
const INBOX_BOUND: usize = 4_096;
/// How long a failed commit rests before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// How often every worker hears from the leader.
const PING_EVERY: Duration = Duration::from_millis(clb_protocol::link::HEARTBEAT_MS);

/// Why a term ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Another orchestrator leads, in this epoch.
    Fenced(Epoch),
    /// It was asked to end; the lease is released.
    SteppedDown,
    /// The store cannot go on.
    Broken(StoreError),
}

/// What waits for a batch to be on disk.
#[derive(Debug)]
enum Release {
    Submission { statuses: Vec<(TaskId, Submitted)>, reply: oneshot::Sender<Vec<(TaskId, Submitted)>> },
    Cancellation { receipt: CancelReceipt, reply: oneshot::Sender<CancelReceipt> },
    Ack(LinkNo, TaskId, clb_protocol::AttemptNo),
    Ended(TaskId),
}

/// A commit under way.
struct Commit {
    done: oneshot::Receiver<Done>,
    releases: Vec<Release>,
}

/// The loop and everything it owns.
pub(crate) struct Term {
    cluster: Cluster,
    store: Arc<dyn Store>,
    committer: Committer,
    epoch: Epoch,
    /// Who this orchestrator is on every link.
    welcome: Welcome,
    own_number: ContainerNo,
    client_port: u16,
    inbox: mpsc::UnboundedReceiver<Message>,
    fleet: mpsc::UnboundedSender<FleetAction>,
    links: Links,
    logbook: Logbook,
    specs: Specs,
    pending: Batch,
    releases: Vec<Release>,
    /// Tasks whose outcome is not on disk yet.
    ending: BTreeSet<TaskId>,
    watchers: BTreeMap<TaskId, Vec<oneshot::Sender<()>>>,
    trouble: Option<String>,
    stepping_down: bool,
    progress: watch::Sender<u64>,
}

/// What a term begins with.
pub(crate) struct Beginning {
    /// The decisions' numbers.
    pub(crate) config: Config,
    /// What the store has.
    pub(crate) recovered: Recovered,
    /// What every worker is told first; holds the epoch.
    pub(crate) welcome: Welcome,
    /// The leader's own container.
    pub(crate) identity: ContainerIdentity,
    /// The port of the client, for the log.
    pub(crate) client_port: u16,
}

impl Term {
    /// Prepares a term. Fleet actions go to `fleet`, whose facts come back through the handle.
    pub(crate) fn new(
        beginning: Beginning,
        store: Arc<dyn Store>,
        fleet: mpsc::UnboundedSender<FleetAction>,
        now: Timestamp,
    ) -> std::io::Result<(Self, Handle)> {
        let progress = watch::Sender::new(0);
        let (handle, inbox) = Handle::new(progress.subscribe());
        let epoch = beginning.welcome.epoch;
        let mut logbook = Logbook::resume(&beginning.recovered.containers, beginning.recovered.last_log);
        let own_number = logbook.number(&beginning.identity, now);
        logbook.write(own_number, now, None, seed::IS_MASTER.to_owned());
        tracing::info!(%epoch, "{}", seed::IS_MASTER);
        let term = Self {
            cluster: Cluster::restore(beginning.config, beginning.recovered.cluster, now),
            committer: Committer::start(Arc::clone(&store), epoch)?,
            store,
            epoch,
            welcome: beginning.welcome,
            own_number,
            client_port: beginning.client_port,
            inbox,
            fleet,
            links: Links::default(),
            logbook,
            specs: Specs::default(),
            pending: Batch::default(),
            releases: Vec::new(),
            ending: BTreeSet::new(),
            watchers: BTreeMap::new(),
            trouble: None,
            stepping_down: false,
            progress,
        };
        Ok((term, handle))
    }

    /// Leads until the term is over.
    pub(crate) async fn run(mut self) -> End {
        let mut commit: Option<Commit> = None;
        let mut renewal = tokio::time::interval(Duration::from_millis(RENEWAL_MS));
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut not_before = Instant::now();
        let mut messages = Vec::new();
        loop {
            if commit.is_none() && Instant::now() >= not_before {
                commit = self.begin_commit();
            }
            if self.stepping_down && commit.is_none() && self.trouble.is_none() {
                return self.release();
            }
            let due = self.cluster.next_deadline().map_or(not_before, instant_of);
            tokio::select! {
                biased;
                done = finished(&mut commit) => {
                    match self.take_commit(done) {
                        Ok(()) => not_before = Instant::now(),
                        Err(Some(end)) => return end,
                        Err(None) => not_before = Instant::now() + RETRY_AFTER,
                    }
                }
                count = self.inbox.recv_many(&mut messages, INBOX_BOUND) => {
                    if count == 0 {
                        return self.release();
                    }
                    for message in messages.drain(..) {
                        self.take_message(message, Timestamp::now());
                    }
                }
                _ = renewal.tick() => {
                    self.pending.renew = Some(Timestamp::now() + Duration::from_millis(TERM_MS));
                }
                _ = ping.tick() => self.links.send_all(&WorkerOrder::Ping),
                () = sleep_until(due), if self.cluster.next_deadline().is_some() => {
                    self.handle(Input::TimePassed, Timestamp::now());
                }
                () = sleep_until(not_before), if self.trouble.is_some() && commit.is_none() => {}
            }
        }
    }

    fn release(&self) -> End {
        match self.store.release(self.epoch) {
            Ok(()) => End::SteppedDown,
            Err(StoreError::Fenced { current }) => End::Fenced(current),
            Err(error) => End::Broken(error),
        }
    }

    fn begin_commit(&mut self) -> Option<Commit> {
        self.logbook.drain_into(&mut self.pending);
        if self.pending.is_empty() && self.releases.is_empty() {
            return None;
        }
        let done = self.committer.commit(std::mem::take(&mut self.pending));
        Some(Commit { done, releases: std::mem::take(&mut self.releases) })
    }

    /// Takes in the end of a commit. `Err(None)`: try again a little later.
    fn take_commit(&mut self, (done, releases): (Option<Done>, Vec<Release>)) -> Result<(), Option<End>> {
        let now = Timestamp::now();
        let Some(Done { batch, result }) = done else {
            let detail = "the thread that commits has ended".to_owned();
            return Err(Some(End::Broken(StoreError::Unavailable { detail })));
        };
        match result {
            Ok(committed) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the store takes changes again");
                    self.handle(Input::StoreAvailable(true), now);
                }
                let duplicates: BTreeSet<TaskId> = committed.duplicates.into_iter().collect();
                let stored = accepted(&batch).filter(|id| !duplicates.contains(id)).collect();
                self.handle(Input::Stored(stored), now);
                if !duplicates.is_empty() {
                    self.handle(Input::NotStored(duplicates.iter().copied().collect()), now);
                }
                self.let_go(releases, &duplicates);
                Ok(())
            }
            Err(StoreError::Fenced { current }) => Err(Some(End::Fenced(current))),
            Err(error) if error.is_transient() => {
                self.hold_back(batch, releases, &error, now);
                Err(None)
            }
            Err(error) => Err(Some(End::Broken(error))),
        }
    }

    /// The store took nothing: submissions are refused, everything else is kept for the next try.
    fn hold_back(&mut self, mut batch: Batch, releases: Vec<Release>, error: &StoreError, now: Timestamp) {
        let reason = error.to_string();
        if self.trouble.is_none() {
            tracing::error!("{reason}");
            self.handle(Input::StoreAvailable(false), now);
        }
        let refused: Vec<TaskId> = accepted(&batch).chain(accepted(&self.pending)).collect();
        let is_kept = |change: &Change| !matches!(change, Change::TaskAccepted { .. });
        batch.changes.retain(is_kept);
        batch.changes.extend(self.pending.changes.drain(..).filter(is_kept));
        batch.logs.append(&mut self.pending.logs);
        batch.containers.append(&mut self.pending.containers);
        batch.members.append(&mut self.pending.members);
        batch.renew = self.pending.renew.or(batch.renew);
        self.pending = batch;
        self.handle(Input::NotStored(refused), now);
        let waiting = std::mem::take(&mut self.releases);
        for release in releases.into_iter().chain(waiting) {
            match release {
                Release::Submission { mut statuses, reply } => {
                    for (_, status) in &mut statuses {
                        *status = Submitted::Refused(reason.clone());
                    }
                    drop(reply.send(statuses));
                }
                other => self.releases.push(other),
            }
        }
        self.trouble = Some(reason);
    }

    fn let_go(&mut self, releases: Vec<Release>, duplicates: &BTreeSet<TaskId>) {
        let mut acks: BTreeMap<LinkNo, Vec<_>> = BTreeMap::new();
        if releases.iter().any(|release| matches!(release, Release::Ended(_))) {
            self.progress.send_modify(|count| *count += 1);
        }
        for release in releases {
            match release {
                Release::Submission { mut statuses, reply } => {
                    for (id, status) in &mut statuses {
                        if *status == Submitted::Accepted && duplicates.contains(id) {
                            *status = Submitted::Known;
                        }
                    }
                    // A caller that hung up gets its answer when it asks again.
                    drop(reply.send(statuses));
                }
                Release::Cancellation { receipt, reply } => drop(reply.send(receipt)),
                Release::Ack(link, task, attempt) => acks.entry(link).or_default().push((task, attempt)),
                Release::Ended(id) => {
                    self.ending.remove(&id);
                    for watcher in self.watchers.remove(&id).unwrap_or_default() {
                        let _ = watcher.send(());
                    }
                }
            }
        }
        for (link, done) in acks {
            self.links.send(link, WorkerOrder::Ack(done));
        }
    }

    fn take_message(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Submit { tasks, reply } => self.submit(tasks, reply, now),
            Message::Cancel { id, reply } => {
                let receipt = self.handle(Input::CancelRequested(id), now).cancelled;
                let receipt = receipt.unwrap_or(CancelReceipt::NotOpen);
                self.releases.push(Release::Cancellation { receipt, reply });
            }
            Message::Watch { id, reply } => {
                if self.cluster.is_open(id) || self.ending.contains(&id) {
                    self.watchers.entry(id).or_default().push(reply);
                } else {
                    let _ = reply.send(());
                }
            }
            Message::Joined { hello, orders, reply } => self.join(*hello, orders, reply, now),
            Message::Reported { link, report } => self.report(link, report, now),
            Message::Closed(link) => {
                if self.links.close(link) {
                    self.handle(Input::LinkClosed(link), now);
                }
            }
            Message::Fact(input) => drop(self.handle(input, now)),
            Message::Logs { container, lines, reply } => {
                let _ = reply.send(self.logbook.take_in(&container, lines, now));
            }
            Message::Show(reply) => {
                let standing = Standing {
                    tasks: self.cluster.counts(),
                    workers: self.cluster.workers().collect(),
                    store_trouble: self.trouble.clone(),
                };
                drop(reply.send(standing));
            }
            Message::StepDown => self.stepping_down = true,
        }
    }

    fn submit(
        &mut self,
        tasks: Vec<NewTask>,
        reply: oneshot::Sender<Vec<(TaskId, Submitted)>>,
        now: Timestamp,
    ) {
        if let Some(reason) = &self.trouble {
            let refused = tasks.iter().map(|task| (task.id, Submitted::Refused(reason.clone())));
            drop(reply.send(refused.collect()));
            return;
        }
        for task in &tasks {
            if let Ok(spec) = serde_json::value::to_raw_value(&task.spec) {
                self.specs.keep(task.id, spec);
            }
        }
        let receipts = self.handle(Input::Submitted(tasks), now).receipts;
        let statuses = receipts.into_iter().map(|(id, receipt)| (id, status(receipt))).collect();
        self.releases.push(Release::Submission { statuses, reply });
    }

    fn join(
        &mut self,
        hello: WorkerHello,
        orders: mpsc::UnboundedSender<WorkerOrder>,
        reply: oneshot::Sender<LinkNo>,
        now: Timestamp,
    ) {
        let identity = ContainerIdentity {
            name: hello.worker.name(),
            id: hello.container.clone(),
            role: ContainerRole::Worker,
        };
        self.logbook.number(&identity, now);
        let link = self.links.open(orders, identity);
        self.links.send(link, WorkerOrder::Welcome(self.welcome.clone()));
        let _ = reply.send(link);
        self.handle(Input::WorkerJoined { link, hello }, now);
    }

    fn report(&mut self, link: LinkNo, report: WorkerReport, now: Timestamp) {
        if !report.logs.is_empty()
            && let Some(identity) = self.links.identity(link)
        {
            self.logbook.take_in(identity, report.logs, now);
        }
        let leaving = report.leaving.map(|leaving| leaving.returned);
        self.handle(Input::WorkerReported { link, finished: report.finished, leaving }, now);
    }

    /// Lets the core decide and does what it says. The answers to callers are left in the output.
    fn handle(&mut self, input: Input, now: Timestamp) -> Output {
        let mut out = self.cluster.handle(input, now);
        self.send_orders(&out.orders);
        for (link, task, attempt) in out.acks.drain(..) {
            self.releases.push(Release::Ack(link, task, attempt));
        }
        for action in out.fleet.drain(..) {
            // The fleet's task ends with the term; what it does not do any more, the next leader does.
            drop(self.fleet.send(action));
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
                self.releases.push(Release::Ended(*task));
            }
        }
        self.pending.changes.append(&mut out.changes);
        out
    }

    fn send_orders(&mut self, orders: &[(LinkNo, Order)]) {
        let mut specs: BTreeMap<TaskId, _> = BTreeMap::new();
        let mut missing = Vec::new();
        for (_, order) in orders {
            if let Order::Run(task, _) = order {
                match self.specs.take(*task) {
                    Some(spec) => drop(specs.insert(*task, spec)),
                    None => missing.push(*task),
                }
            }
        }
        if !missing.is_empty() {
            match self.store.specs(&missing) {
                Ok(found) => specs.extend(found),
                Err(error) => tracing::error!("the specs of {} tasks cannot be read: {error}", missing.len()),
            }
        }
        let mut runs: BTreeMap<LinkNo, Vec<RunOrder>> = BTreeMap::new();
        for (link, order) in orders {
            match order {
                Order::Run(task, attempt) => {
                    if let Some(spec) = specs.remove(task) {
                        runs.entry(*link).or_default().push(RunOrder {
                            task: *task,
                            attempt: *attempt,
                            spec,
                        });
                    }
                }
                Order::Cancel(task, attempt) => {
                    self.links.send(*link, WorkerOrder::Cancel(vec![(*task, *attempt)]));
                }
            }
        }
        for (link, orders) in runs {
            self.links.send(link, WorkerOrder::Run(orders));
        }
    }

    fn note(&mut self, note: Note, now: Timestamp) {
        let (task, message) = match note {
            Note::ReceivedPayload(id) => (Some(id), seed::received_payload(id)),
            Note::SentPayload(id, port) => (Some(id), seed::sent_payload(id, port)),
            Note::ReceivedResult(id) => (Some(id), seed::received_result(id)),
            Note::SentResult(id) => (Some(id), seed::sent_result_to_client(id, self.client_port)),
            Note::WorkerCrashed => (None, seed::WORKER_CRASHED.to_owned()),
            Note::Fleet(message) => (None, message),
        };
        if task.is_none() {
            tracing::info!("{message}");
        }
        self.logbook.write(self.own_number, now, task, message);
    }
}

/// The end of the commit under way; never, while there is none.
async fn finished(commit: &mut Option<Commit>) -> (Option<Done>, Vec<Release>) {
    let Some(Commit { done, .. }) = commit else { return std::future::pending().await };
    let done = done.await.ok();
    let releases = commit.take().map(|commit| commit.releases).unwrap_or_default();
    (done, releases)
}

fn accepted(batch: &Batch) -> impl Iterator<Item = TaskId> + '_ {
    batch.changes.iter().filter_map(|change| match change {
        Change::TaskAccepted { task, .. } => Some(task.id),
        _ => None,
    })
}

fn status(receipt: Receipt) -> Submitted {
    match receipt {
        Receipt::Accepted => Submitted::Accepted,
        Receipt::Known => Submitted::Known,
        Receipt::QueueFull => Submitted::QueueFull,
        Receipt::NoSuchPool => Submitted::NoSuchPool,
    }
}

/// When a deadline of the core is due on the clock that timers use.
fn instant_of(at: Timestamp) -> Instant {
    Instant::now() + at.since(Timestamp::now())
}
