//! One term, from the restored state until somebody else leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clb_core::clock::Moment;
use clb_core::input::Input;
use clb_core::output::FleetAction;
use clb_core::{Cluster, Config};
use clb_protocol::api::TaskView;
use clb_protocol::link::{ContainerIdentity, LogLine, Welcome, WorkerOrder};
use clb_protocol::{ContainerNo, Epoch, TaskId};
use clb_store::{Committer, Done, Member, Recovered, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::callers::Callers;
use super::commit::{Pending, Release, accepted};
use super::feed::{Cursor, Feed};
use super::fetcher::Fetcher;
use super::followers::Followers;
use super::inbox::{Handle, Inbox, Submission};
use super::keeper::Keeper;
use super::links::Links;
use super::logbook::Logbook;
use super::recent::Recent;
use super::restore::restore;
use super::specs::Specs;
use crate::clock;
use crate::journal::Journal;
use crate::roster::Roster;

/// The most messages that are handled before their changes are committed.
const INBOX_BOUND: usize = 4_096;
/// A batch with no more changes is small.
const SMALL: usize = 8;
/// How long a failed commit rests before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// How often the leader looks whether it is cut off from everybody.
const LOOK_AROUND_EVERY: Duration = Duration::from_millis(500);
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

/// A commit under way.
struct Commit {
    done: oneshot::Receiver<Done>,
    releases: Vec<Release>,
}

/// The loop and everything it owns.
pub(crate) struct Term {
    pub(super) cluster: Cluster,
    store: Arc<dyn Store>,
    pub(super) committer: Committer,
    pub(super) epoch: Epoch,
    keeper: Keeper,
    /// Who this orchestrator is on every link.
    pub(super) welcome: Welcome,
    pub(super) identity: ContainerIdentity,
    pub(super) own_number: ContainerNo,
    pub(super) client_port: u16,
    pub(super) journal: Arc<Journal>,
    pub(super) roster: Arc<Roster>,
    inbox: Inbox,
    /// A large submission of which a part is taken in.
    pub(super) half_taken: Option<Submission>,
    pub(super) fleet: mpsc::UnboundedSender<FleetAction>,
    pub(super) ran_at: Moment,
    pub(super) links: Links,
    pub(super) logbook: Logbook,
    /// Own lines that are not shown yet.
    pub(super) unshown: Vec<LogLine>,
    pub(super) specs: Specs,
    pub(super) fetcher: Fetcher,
    pub(super) pending: Pending,
    /// Tasks whose outcome is not on disk yet.
    pub(super) ending: BTreeSet<TaskId>,
    pub(super) watchers: Callers<oneshot::Sender<Option<Box<TaskView>>>>,
    pub(super) recent: Recent,
    pub(super) followers: Followers,
    pub(super) trouble: Option<String>,
    /// Waits until no worker is left.
    pub(super) retirement: Option<oneshot::Sender<()>>,
    pub(super) stepping_down: bool,
    pub(super) progress: watch::Sender<u64>,
    pub(super) feed: Arc<Feed>,
    pub(super) news: watch::Sender<Cursor>,
}

/// What a term begins with.
pub(crate) struct Beginning {
    /// The decisions' numbers.
    pub(crate) config: Config,
    /// Keeps the lease since it was taken.
    pub(crate) keeper: Keeper,
    /// What the store has, but for the tasks.
    pub(crate) recovered: Recovered,
    /// What every worker is told first; holds the epoch.
    pub(crate) welcome: Welcome,
    /// The leader's own container.
    pub(crate) identity: ContainerIdentity,
    /// The port of the client, for the log.
    pub(crate) client_port: u16,
    /// How to make the leader's own container again, where it is one.
    pub(crate) member: Option<Member>,
    /// The leader's own log.
    pub(crate) journal: Arc<Journal>,
    /// The other orchestrators.
    pub(crate) roster: Arc<Roster>,
}

impl Term {
    /// Prepares a term: reads every open task, which blocks. Fleet actions go to `fleet`, whose facts come back
    /// through the handle.
    pub(crate) fn new(
        beginning: Beginning,
        store: Arc<dyn Store>,
        fleet: mpsc::UnboundedSender<FleetAction>,
    ) -> Result<(Self, Handle), StoreError> {
        let epoch = beginning.welcome.epoch;
        let progress = watch::Sender::new(0);
        let (feed, news) = Feed::new(epoch);
        let watchdog = beginning.keeper.watchdog();
        let cluster = restore(beginning.config, beginning.recovered.cluster, &*store, &feed, watchdog)?;
        let now = clock::now();
        let (handle, inbox) =
            Handle::new(Arc::clone(watchdog), progress.subscribe(), Arc::clone(&feed), news.subscribe());
        let mut logbook = Logbook::resume(&beginning.recovered.containers, beginning.recovered.last_log);
        let own_number = logbook.introduce(&beginning.identity, now.at);
        let mut pending = Pending::default();
        if let Some(member) = beginning.member {
            pending.push_member(member);
        }
        let term = Self {
            cluster,
            committer: Committer::start(Arc::clone(&store), epoch).map_err(|error| no_thread(&error))?,
            epoch,
            keeper: beginning.keeper,
            welcome: beginning.welcome,
            identity: beginning.identity,
            own_number,
            client_port: beginning.client_port,
            journal: beginning.journal,
            roster: beginning.roster,
            inbox,
            half_taken: None,
            fleet,
            links: Links::default(),
            logbook,
            unshown: Vec::new(),
            specs: Specs::default(),
            fetcher: Fetcher::start(Arc::clone(&store)).map_err(|error| no_thread(&error))?,
            pending,
            store,
            ending: BTreeSet::new(),
            watchers: Callers::default(),
            recent: Recent::default(),
            followers: Followers::default(),
            ran_at: now,
            trouble: None,
            retirement: None,
            stepping_down: false,
            progress,
            feed,
            news,
        };
        Ok((term, handle))
    }

    /// Leads until the term is over.
    pub(crate) async fn run(mut self) -> End {
        let end = self.lead().await;
        self.show_notes();
        end
    }

    /// What comes seldom goes before the inboxes, which may never be empty.
    async fn lead(&mut self) -> End {
        let mut commit: Option<Commit> = None;
        let mut look_around = tokio::time::interval(LOOK_AROUND_EVERY);
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut not_before = Instant::now();
        let mut messages = Vec::new();
        let journal = Arc::clone(&self.journal);
        loop {
            self.keeper.watchdog().kick();
            self.notice_sleep(clock::now());
            for link in self.links.take_stuck() {
                self.handle(Input::LinkClosed(link), clock::now());
            }
            let write_at = self.pending.due().map(|due| due.max(not_before)).filter(|_| commit.is_none());
            if write_at.is_some_and(|at| at <= Instant::now()) {
                commit = Some(self.begin_commit());
                continue;
            }
            self.stepping_down |= self.inbox.messages.is_closed();
            if self.stepping_down && commit.is_none() && self.trouble.is_none() {
                if self.pending.wind_up() {
                    continue;
                }
                return self.release();
            }
            if self.takes_tasks()
                && let Some(rest) = self.half_taken.take()
            {
                self.submit(rest, clock::now());
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.cluster.next_deadline(clock::now()).map(clock::instant_of);
            tokio::select! {
                biased;
                done = finished(&mut commit) => {
                    match self.take_commit(done) {
                        Ok(()) => not_before = Instant::now(),
                        Err(Some(end)) => return end,
                        Err(None) => not_before = Instant::now() + RETRY_AFTER,
                    }
                }
                current = self.keeper.fenced() => return End::Fenced(current),
                fetched = self.fetcher.fetched() => self.take_fetched(fetched, clock::now()),
                _ = look_around.tick() => {
                    if self.is_cut_off(clock::now()) {
                        self.journal.write("Hears neither workers nor a standby: hands over to one that does");
                        return self.release();
                    }
                }
                _ = ping.tick() => self.links.send_all(&WorkerOrder::Ping),
                () = journal.has_unsent() => {
                    self.logbook.take_in(&self.identity, journal.take_unsent(), clock::now().at);
                    self.pending.ride();
                }
                () = until(deadline) => drop(self.handle(Input::TimePassed, clock::now())),
                _ = self.inbox.messages.recv_many(&mut messages, INBOX_BOUND), if !self.stepping_down => {
                    for message in messages.drain(..) {
                        self.take_message(message, clock::now());
                    }
                    self.take_submissions();
                }
                Some(submission) = self.inbox.submissions.recv(), if self.takes_submissions() => {
                    self.submit(submission, clock::now());
                    self.take_submissions();
                }
                () = until(write_at) => {}
                // Those who were answered go first.
                () = tokio::task::yield_now(), if !self.unshown.is_empty() => self.show_notes(),
            }
        }
    }

    /// Whether there is room for more tasks. When the store takes none, they are refused at once.
    fn takes_tasks(&self) -> bool {
        !self.stepping_down && (self.pending.has_room() || self.trouble.is_some())
    }

    fn takes_submissions(&self) -> bool {
        self.half_taken.is_none() && self.takes_tasks()
    }

    /// Takes in the tasks that wait, as far as there is room for them.
    fn take_submissions(&mut self) {
        for _ in 0..INBOX_BOUND {
            if !self.takes_submissions() {
                return;
            }
            let Ok(submission) = self.inbox.submissions.try_recv() else { return };
            self.submit(submission, clock::now());
        }
    }

    /// Whether it is this leader that nobody reaches, and somebody else could lead.
    fn is_cut_off(&self, now: Moment) -> bool {
        self.roster.is_silent(now) && self.cluster.is_unheard(now)
    }

    fn release(&self) -> End {
        match self.store.release(self.epoch) {
            Ok(()) => End::SteppedDown,
            Err(StoreError::Fenced { current }) => End::Fenced(current),
            Err(error) => End::Broken(error),
        }
    }

    fn begin_commit(&mut self) -> Commit {
        let (batch, releases) = self.pending.take(&mut self.logbook, Instant::now());
        let is_calm = batch.changes.len() <= SMALL && self.inbox.is_empty();
        let done = if is_calm { self.committer.commit_at_once(batch) } else { self.committer.commit(batch) };
        Commit { done, releases }
    }

    /// Takes in the end of a commit. `Err(None)`: try again a little later.
    fn take_commit(&mut self, (done, releases): (Option<Done>, Vec<Release>)) -> Result<(), Option<End>> {
        let now = clock::now();
        let Some(done) = done else {
            let detail = "the thread that commits has ended".to_owned();
            return Err(Some(End::Broken(StoreError::Unavailable { detail })));
        };
        self.committer.observe(&done);
        let Done { mut batch, result, .. } = done;
        match result {
            Ok(committed) => {
                if self.trouble.take().is_some() {
                    self.journal.write("The store takes changes again");
                    self.handle(Input::StoreAvailable(true), now);
                }
                let duplicates: BTreeSet<TaskId> = committed.duplicates.into_iter().collect();
                let stored: Vec<TaskId> = accepted(&batch).filter(|id| !duplicates.contains(id)).collect();
                if !stored.is_empty() {
                    self.handle(Input::Stored(stored), now);
                }
                if !duplicates.is_empty() {
                    self.handle(Input::NotStored(duplicates.iter().copied().collect()), now);
                }
                self.show_ended(&batch);
                self.let_go(releases, &duplicates);
                self.feed.publish(&batch, &duplicates, &self.logbook, &self.news);
                Ok(())
            }
            Err(StoreError::Fenced { current }) => Err(Some(End::Fenced(current))),
            Err(error) if error.is_transient() => {
                let reason = error.to_string();
                self.logbook.put_back(std::mem::take(&mut batch.logs));
                let refused = self.pending.put_back(batch, releases, &reason);
                self.suspend(reason, now);
                self.handle(Input::NotStored(refused), now);
                Err(None)
            }
            Err(error) => Err(Some(End::Broken(error))),
        }
    }

    /// Hands out nothing and takes nothing in until the store takes a commit again.
    pub(super) fn suspend(&mut self, reason: String, now: Moment) {
        if self.trouble.is_none() {
            self.journal.write(&reason);
            self.handle(Input::StoreAvailable(false), now);
        }
        self.trouble = Some(reason);
        // Whether it is over is found out by the next commit.
        self.pending.hurry();
    }
}

/// The system gives no thread: as little can be committed as without a store.
fn no_thread(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable { detail: format!("the system gives no thread for it: {error}") }
}

/// The end of the commit under way; never, while there is none.
async fn finished(commit: &mut Option<Commit>) -> (Option<Done>, Vec<Release>) {
    let Some(Commit { done, .. }) = commit else { return std::future::pending().await };
    let done = done.await.ok();
    let releases = commit.take().map(|commit| commit.releases).unwrap_or_default();
    (done, releases)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
