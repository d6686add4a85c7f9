//! What is stored: the lease, tasks with their attempts and outcomes, log lines, the registry of
//! containers.
//!
//! [`Store`] is what a leader needs, [`Reader`] what pages need; every method blocks and belongs on a
//! thread that may wait. One suite of tests (`conformance`) runs against every implementation.
//!
//! Not here: what a change means (`clb-core`) and when it is committed (the leader's loop). Only the
//! folders of the implementations name SQL.

mod batch;
mod committer;
#[cfg(test)]
mod conformance;
mod error;
mod query;
pub mod sqlite;

use std::path::Path;

use clb_core::input::{Restored, RestoredTask};
use clb_core::lease::Beat;
use clb_protocol::api::{OutcomePage, TaskView};
use clb_protocol::task::NewTask;
use clb_protocol::{Epoch, LogSeq, MemberName, OutcomeSeq, SubmissionSeq, TaskId, Timestamp};

pub use batch::{Batch, Committed, LogEntry, Member, Registration};
pub use committer::{Committer, Done};
pub use error::{Result, StoreError};
pub use query::{
    Existing, IdList, LogFilter, LogFrom, LogRead, ObituaryList, Original, Statistics, TaskFilter, TaskList,
    Workload,
};

/// Who leads, or led last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The term.
    pub epoch: Epoch,
    /// The leader's name.
    pub holder: MemberName,
    /// Its base URL inside the cluster's network.
    pub url: String,
    /// Its base URL for callers on the host.
    pub public_url: String,
    /// Whether its holder gave it up on purpose.
    pub is_released: bool,
    /// Its holder's last sign of life; `None` before the first.
    pub pulse: Option<Pulse>,
}

/// A leader's sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// What moves on with each.
    pub beat: Beat,
    /// When its process gave it, for people.
    pub at: Timestamp,
}

/// Who wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub holder: MemberName,
    /// Its base URL inside the cluster's network.
    pub url: String,
    /// Its base URL for callers on the host.
    pub public_url: String,
}

/// Everything that a new leader begins with.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// For the core, without the tasks.
    pub cluster: Restored,
    /// Every container that ever registered, by number.
    pub containers: Vec<Registration>,
    /// Every orchestrator that was ever seen, by name.
    pub members: Vec<Member>,
    /// The last log line's number.
    pub last_log: LogSeq,
}

/// A task without an outcome.
#[derive(Clone, Debug)]
pub struct OpenTask {
    /// For the core.
    pub task: RestoredTask,
    /// What it belongs to.
    pub group: Option<String>,
}

/// Reads what is committed. Never waits for a commit and never holds one up.
pub trait Reader: Send + Sync + 'static {
    /// Who leads, or led last; `None` before the first leader.
    fn lease(&self) -> Result<Option<Lease>>;

    /// A task with everything that is known of it.
    fn task(&self, id: TaskId) -> Result<Option<TaskView>>;

    /// The same, unless it would have to wait for somebody else who reads: `None` then.
    fn task_at_once(&self, id: TaskId) -> Option<Result<Option<TaskView>>>;

    /// For each of `tasks`, in order: what the store has under its idempotency key or its id.
    fn existing(&self, tasks: &[&NewTask]) -> Result<Vec<Option<Existing>>>;

    /// What a worker has to know to run these. Unknown ids are left out. Waits for no page.
    fn specs(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, Workload)>>;

    /// Newest first, those accepted before `before`. Looks at a bounded number of tasks, so that a page
    /// may have fewer than `limit`, or none, and still name a next one.
    fn tasks(&self, filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> Result<TaskList>;

    /// The names of the tasks that [`Reader::tasks`] would list.
    fn ids(&self, filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> Result<IdList>;

    /// The names of groups behind `after`, in order, those that begin with `prefix`.
    fn groups(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>>;

    /// What replays of these are made of, in order. Unknown ids are left out.
    fn originals(&self, ids: &[TaskId]) -> Result<Vec<Original>>;

    /// Ended tasks after `after`, in the order of their outcomes.
    fn outcomes(&self, after: OutcomeSeq, group: Option<&str>, limit: usize) -> Result<OutcomePage>;

    /// Dead containers, newest first, those buried before `before`.
    fn obituaries(&self, before: Option<u64>, limit: usize) -> Result<ObituaryList>;

    /// Log lines in order. Looks through a bounded number of lines, so that with a filter a page may
    /// be short or empty though more is to come: go on from where it says.
    fn logs(&self, filter: &LogFilter, from: LogFrom, limit: usize) -> Result<LogRead>;

    /// Every container that ever registered, by number.
    fn containers(&self) -> Result<Vec<Registration>>;

    /// How much is stored.
    fn statistics(&self) -> Result<Statistics>;

    /// Writes a consistent copy to the new file `to` while commits go on.
    fn backup(&self, to: &Path) -> Result<()>;
}

/// Reads and changes what is stored. Every change names the term in which it is made, and is refused
/// with [`StoreError::Fenced`] when another one has begun.
pub trait Store: Reader {
    /// Begins the term after `seen` when that is still the newest; [`StoreError::LeaseLost`]
    /// otherwise. Whether the last holder's time is over is for the caller to decide.
    fn acquire(&self, claim: &Claim, seen: Epoch) -> Result<Epoch>;

    /// Shows that the term goes on. Waits for no commit, however long it takes.
    fn renew(&self, epoch: Epoch) -> Result<()>;

    /// Gives the lease up: nothing more can be committed in this term.
    fn release(&self, epoch: Epoch) -> Result<()>;

    /// What a new leader begins with, but for the tasks.
    fn restore(&self, epoch: Epoch) -> Result<Recovered>;

    /// At most `limit` of the tasks without an outcome, in the order of their submissions, those after `after`.
    fn open_tasks(&self, epoch: Epoch, after: SubmissionSeq, limit: usize) -> Result<Vec<OpenTask>>;

    /// Makes all of `batch` durable, or nothing of it. After an error it may be committed again, even
    /// when the failed one did reach the disk.
    fn commit(&self, epoch: Epoch, batch: &Batch) -> Result<Committed>;

    /// The same, unless it would have to wait for somebody else who writes: `None` then, and nothing is done.
    fn commit_at_once(&self, epoch: Epoch, batch: &Batch) -> Option<Result<Committed>>;
}
