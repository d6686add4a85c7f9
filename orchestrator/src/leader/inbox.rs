//! What the leader's loop is told, and the handle by which the edges tell it.

use std::sync::Arc;

use clb_core::input::{Cancellable, Input, LinkNo};
use clb_core::output::{CancelReceipt, PoolReceipt};
use clb_protocol::api::{
    CandidateView, Explanation, PlacementView, PoolView, TaskCounts, TaskView, WorkerView,
};
use clb_protocol::link::{ContainerIdentity, LogLine, WorkerHello, WorkerOrder, WorkerReport};
use clb_protocol::task::NewTask;
use clb_protocol::{AttemptNo, ContainerNo, TaskId, Timestamp};
use clb_store::Member;
use tokio::sync::{mpsc, oneshot, watch};

use super::feed::{Cursor, Feed};
use super::followers::Whereabouts;
use super::progress::Board;
use super::watchdog::Watchdog;

/// What became of one submitted task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It is on disk, accepted at that time.
    Accepted(Timestamp),
    /// Its id or idempotency key is known; the store tells whether it is the same task.
    Known,
    /// Too many tasks wait; retry later.
    QueueFull,
    /// There is no such pool.
    NoSuchPool,
    /// The store takes nothing now, for this reason; retry later.
    Refused(String),
}

/// The store takes nothing now, for this reason; retry later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

/// What became of a wish about a pool, and how the pool is then.
pub(crate) type PoolAnswer = (PoolReceipt, Option<PoolView>);

/// How many messages may wait for the loop; whoever has one more waits for room.
const INBOX: usize = 4_096;
/// How many submissions may wait for the loop.
const SUBMISSIONS: usize = 1_024;

/// Tasks to accept. They have a queue of their own, in which they wait while the loop has enough to write: what
/// workers and the engine say never waits for the disk.
#[derive(Debug)]
pub(crate) struct Submission {
    /// Checked tasks whose ids differ from each other, as far as they were not taken in yet.
    pub(crate) tasks: Vec<Arc<NewTask>>,
    /// What became of those before them.
    pub(crate) statuses: Vec<(TaskId, Submitted)>,
    /// One entry for each, in their order, when all of them are on disk.
    pub(crate) reply: oneshot::Sender<Vec<(TaskId, Submitted)>>,
}

impl Submission {
    /// Of which nothing is taken in yet.
    pub(crate) fn new(tasks: Vec<Arc<NewTask>>, reply: oneshot::Sender<Vec<(TaskId, Submitted)>>) -> Self {
        Self { tasks, statuses: Vec::new(), reply }
    }
}

/// What the loop takes in.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) submissions: mpsc::Receiver<Submission>,
}

impl Inbox {
    /// Whether nobody waits for the loop.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.submissions.is_empty()
    }
}

/// One message to the loop.
#[derive(Debug)]
pub(crate) enum Message {
    /// Tasks to cancel. Answered when their ends are on disk.
    Cancel {
        /// Which ones; each once.
        ids: Vec<TaskId>,
        /// Those of them that stand elsewhere are spared.
        which: Cancellable,
        /// What became of the wish, for each in order.
        reply: oneshot::Sender<Result<Vec<CancelReceipt>, Refused>>,
    },
    /// Tell why a task waits, or why it runs where it runs.
    Explain {
        /// Which one.
        id: TaskId,
        /// What is known.
        reply: oneshot::Sender<Explained>,
    },
    /// A wish about a pool. Answered when its change is on disk.
    Pool {
        /// What is wished.
        wish: Input,
        /// What became of it.
        reply: oneshot::Sender<Result<PoolAnswer, Refused>>,
    },
    /// An order for a worker. Answered when it is on disk, with the worker if there is one.
    Order {
        /// What is ordered.
        order: Input,
        /// For whom.
        reply: oneshot::Sender<Result<Option<WorkerView>, Refused>>,
    },
    /// Every pool, by name.
    Pools(oneshot::Sender<Vec<PoolView>>),
    /// Tell when a task has ended; at once for one that is not open.
    Watch {
        /// Which one.
        id: TaskId,
        /// Answered once the outcome can be read from the store, with the task where that is not needed.
        reply: oneshot::Sender<Option<Box<TaskView>>>,
    },
    /// Tell where a task is.
    Find {
        /// Which one.
        id: TaskId,
        /// With an attempt: once it runs in this one or a later one, or has ended. Without: now.
        from: Option<AttemptNo>,
        /// Where it is.
        reply: oneshot::Sender<Whereabouts>,
    },
    /// A worker opened a link.
    Joined {
        /// Its first line.
        hello: Box<WorkerHello>,
        /// Where its orders go; closed by the loop to end the link.
        orders: mpsc::Sender<WorkerOrder>,
        /// The number by which its reports are told apart.
        reply: oneshot::Sender<LinkNo>,
    },
    /// A worker said something.
    Reported {
        /// On which link.
        link: LinkNo,
        /// What.
        report: WorkerReport,
    },
    /// A worker's link ended.
    Closed(LinkNo),
    /// Something happened to the fleet.
    Fact(Input),
    /// Log lines of a container without a link.
    Logs {
        /// Whose.
        container: ContainerIdentity,
        /// The lines, oldest first.
        lines: Vec<LogLine>,
        /// Under which number the container is registered.
        reply: oneshot::Sender<ContainerNo>,
    },
    /// An orchestrator that is new or changed.
    Member(Member),
    /// Workers are to hear of these orchestrators' base URLs.
    Orchestrators(Vec<String>),
    /// How things stand.
    Show(oneshot::Sender<Standing>),
    /// Give every worker up and make no more. Answered when none is left.
    Retire(oneshot::Sender<()>),
    /// Give the lease up and end the term.
    StepDown,
}

/// What the leader knows of why a task stands where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Explained {
    /// It has not ended.
    Open(Box<Explanation>),
    /// It is on its way to the disk: nobody knows of it yet.
    Arriving,
    /// It is not open. Its last placement, while that is remembered.
    Ended(Option<(PlacementView, Vec<CandidateView>)>),
}

/// How things stand in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// The tasks.
    pub(crate) tasks: TaskCounts,
    /// The workers, by pool and place.
    pub(crate) workers: Vec<WorkerView>,
    /// Why the store takes nothing, when it does not.
    pub(crate) store_trouble: Option<String>,
}

/// Tells a leader's loop things. Every wait ends with `None` when the term is over.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
    submissions: mpsc::Sender<Submission>,
    watchdog: Arc<Watchdog>,
    progress: watch::Receiver<u64>,
    feed: Arc<Feed>,
    news: watch::Receiver<Cursor>,
}

impl Handle {
    /// A handle and the inbox that it fills. `progress` changes when outcomes are on disk, `news` when
    /// there are events in `feed`.
    pub(super) fn new(
        watchdog: Arc<Watchdog>,
        progress: watch::Receiver<u64>,
        feed: Arc<Feed>,
        news: watch::Receiver<Cursor>,
    ) -> (Self, Inbox) {
        let (messages, told) = mpsc::channel(INBOX);
        let (submissions, submitted) = mpsc::channel(SUBMISSIONS);
        let inbox = Inbox { messages: told, submissions: submitted };
        (Self { messages, submissions, watchdog, progress, feed, news }, inbox)
    }

    /// Whether the loop still turns.
    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// The term's events, and what changes when there are new ones; closes with the term.
    pub(crate) fn events(&self) -> (Arc<Feed>, watch::Receiver<Cursor>) {
        (Arc::clone(&self.feed), self.news.clone())
    }

    /// Changes when outcomes are on disk; closes with the term.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.clone()
    }

    /// Sends something that has no answer. Lost when the term is over, as everything then is.
    pub(crate) async fn tell(&self, message: Message) {
        drop(self.messages.send(message).await);
    }

    /// Sends something, for which there must be room.
    #[cfg(test)]
    pub(super) fn tell_now(&self, message: Message) {
        self.messages.try_send(message).unwrap();
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Submits tasks and waits until they are on disk.
    pub(crate) async fn submit(
        &self,
        tasks: impl IntoIterator<Item: Into<Arc<NewTask>>>,
    ) -> Option<Vec<(TaskId, Submitted)>> {
        let tasks = tasks.into_iter().map(Into::into).collect();
        let (reply, answer) = oneshot::channel();
        self.submissions.send(Submission::new(tasks, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Cancels tasks and waits until that is on disk.
    pub(crate) async fn cancel(
        &self,
        ids: Vec<TaskId>,
        which: Cancellable,
    ) -> Option<Result<Vec<CancelReceipt>, Refused>> {
        self.ask(|reply| Message::Cancel { ids, which, reply }).await
    }

    /// Why a task stands where it stands.
    pub(crate) async fn explain(&self, id: TaskId) -> Option<Explained> {
        self.ask(|reply| Message::Explain { id, reply }).await
    }

    /// How far running tasks are.
    pub(crate) fn board(&self) -> &Board {
        self.feed.board()
    }

    /// Where a task is now.
    pub(crate) async fn find(&self, id: TaskId) -> Option<Whereabouts> {
        self.ask(|reply| Message::Find { id, from: None, reply }).await
    }

    /// Where a task is once it runs in this attempt or a later one, or has ended.
    pub(crate) async fn find_from(&self, id: TaskId, from: AttemptNo) -> Option<Whereabouts> {
        self.ask(|reply| Message::Find { id, from: Some(from), reply }).await
    }

    /// Changes a pool and waits until that is on disk.
    pub(crate) async fn change_pool(&self, wish: Input) -> Option<Result<PoolAnswer, Refused>> {
        self.ask(|reply| Message::Pool { wish, reply }).await
    }

    /// Orders something for a worker and waits until that is on disk.
    pub(crate) async fn order(&self, order: Input) -> Option<Result<Option<WorkerView>, Refused>> {
        self.ask(|reply| Message::Order { order, reply }).await
    }

    /// Every pool, by name.
    pub(crate) async fn pools(&self) -> Option<Vec<PoolView>> {
        self.ask(Message::Pools).await
    }

    /// Waits until a task has ended, or is not open. Gives the task where it is at hand; the store has it in any case.
    pub(crate) async fn ended(&self, id: TaskId) -> Option<Option<Box<TaskView>>> {
        self.ask(|reply| Message::Watch { id, reply }).await
    }

    /// Opens a worker's link.
    pub(crate) async fn join(&self, hello: WorkerHello, orders: mpsc::Sender<WorkerOrder>) -> Option<LinkNo> {
        self.ask(|reply| Message::Joined { hello: Box::new(hello), orders, reply }).await
    }

    /// Hands in log lines.
    pub(crate) async fn log(&self, container: ContainerIdentity, lines: Vec<LogLine>) -> Option<ContainerNo> {
        self.ask(|reply| Message::Logs { container, lines, reply }).await
    }

    /// Gives every worker up and waits until none is left.
    pub(crate) async fn retire(&self) -> Option<()> {
        self.ask(Message::Retire).await
    }

    /// How things stand.
    pub(crate) async fn show(&self) -> Option<Standing> {
        self.ask(Message::Show).await
    }
}
