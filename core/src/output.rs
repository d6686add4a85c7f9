//! The intentions that the reducer answers with.

use std::sync::Arc;

use clb_protocol::api::{Obituary, TaskError, Verdict};
use clb_protocol::pool::PoolSpec;
use clb_protocol::task::NewTask;
use clb_protocol::{
    AttemptNo, ContainerId, Epoch, Generation, OutcomeSeq, PoolName, PoolVersion, SlotNo, SubmissionSeq,
    TaskId, Timestamp, WorkerId,
};
use serde_json::value::RawValue;

use crate::fleet::Standing;
use crate::input::LinkNo;

/// What is to be done, in the order of the lists.
#[derive(Debug, Default)]
pub struct Output {
    /// To be made durable, in this order.
    pub changes: Vec<Change>,
    /// To be sent at once.
    pub orders: Vec<(LinkNo, Order)>,
    /// To be sent when `changes` are durable.
    pub acks: Vec<(LinkNo, TaskId, AttemptNo)>,
    /// One for each submitted task, in order; to be answered when `changes` are durable.
    pub receipts: Vec<(TaskId, Receipt)>,
    /// One for each task that was to be cancelled, in order; to be answered when `changes` are durable.
    pub cancelled: Vec<CancelReceipt>,
    /// The answer to a wish about a pool, when `changes` are durable.
    pub pool: Option<PoolReceipt>,
    /// The answer to an order for a worker, when `changes` are durable: the slot it is for.
    pub ordered: Option<(PoolName, SlotNo)>,
    /// To be done to the fleet, concurrently.
    pub fleet: Vec<FleetAction>,
    /// For the leader's log.
    pub notes: Vec<Note>,
    /// Links to close.
    pub dropped: Vec<LinkNo>,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Accepted; it counts once it is on disk.
    Accepted,
    /// A task of this id is waiting or running.
    Known,
    /// Too many tasks wait.
    QueueFull,
    /// There is no such pool.
    NoSuchPool,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReceipt {
    /// It ended as cancelled.
    Cancelled,
    /// It goes on: it stands elsewhere than those that were meant.
    Spared,
    /// It is not waiting or running: it ended before, or nobody knows it.
    NotOpen,
}

/// What became of a wish about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolReceipt {
    /// It is new.
    Created,
    /// It is as it was wished.
    Changed,
    /// What callers made of it is gone.
    Removed,
    /// There is no such pool.
    Unknown,
    /// It is as its operator defines it; there is nothing to remove.
    AsDefined,
    /// Tasks wait or run in it, and it would be gone.
    HasTasks,
    /// The ports that it wants are not free; why, for people.
    PortsTaken(String),
}

/// How a task ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With a result, as JSON.
    Succeeded(Box<RawValue>),
    /// With an error, and with what the last attempt gave nevertheless, as JSON.
    Failed(TaskError, Option<Box<RawValue>>),
    /// By a caller.
    Cancelled,
}

/// The attempt with which a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// Which one.
    pub attempt: AttemptNo,
    /// Who ran it.
    pub worker: WorkerId,
    /// The term that ordered it.
    pub epoch: Epoch,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// How it ended; `None` while its loss is still being judged.
    pub verdict: Option<Verdict>,
}

/// A change of what is stored.
#[derive(Clone, Debug)]
pub enum Change {
    /// A task was accepted.
    TaskAccepted {
        /// Its place in the order of submissions.
        seq: SubmissionSeq,
        /// When.
        at: Timestamp,
        /// All of it.
        task: Arc<NewTask>,
    },
    /// A worker was ordered to run a task. Need not be waited for: workers say what they run.
    AttemptStarted {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNo,
        /// Who runs it.
        worker: WorkerId,
        /// In which term.
        epoch: Epoch,
        /// When.
        at: Timestamp,
    },
    /// An attempt ended and its task did not end with it.
    AttemptEnded {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNo,
        /// When.
        at: Timestamp,
        /// How; `None` while that is being found out.
        verdict: Option<Verdict>,
        /// Whether it counts against the task's `max_attempts`.
        costs: bool,
    },
    /// The judgement on an attempt that ended before. A verdict that is on record stays.
    AttemptJudged {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNo,
        /// How it ended.
        verdict: Verdict,
        /// Whether it counts against the task's `max_attempts`.
        costs: bool,
    },
    /// A task ended. Happens once for each task.
    TaskEnded {
        /// Its place in the order of outcomes.
        seq: OutcomeSeq,
        /// The task.
        task: TaskId,
        /// When.
        at: Timestamp,
        /// How.
        ending: Ending,
        /// With which attempt; `None` when it was cancelled before the first.
        last: Option<LastAttempt>,
    },
    /// What a command had written when it was cancelled. Kept once, as the result of a task that ended as
    /// cancelled in this attempt.
    CancelledOutputKept {
        /// The task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNo,
        /// What it gave, as JSON.
        result: Box<RawValue>,
    },
    /// A slot is about to get a new container.
    SlotFilled {
        /// The pool.
        pool: PoolName,
        /// The slot.
        slot: SlotNo,
        /// The new container's generation.
        generation: Generation,
    },
    /// What callers made of a pool.
    PoolSaved {
        /// Its name.
        name: PoolName,
        /// How it is wanted; `None` leaves that to the operator's definition.
        spec: Option<Arc<PoolSpec>>,
        /// Whether it hands out nothing.
        is_paused: bool,
    },
    /// Callers made nothing of a pool any more.
    PoolForgotten(PoolName),
    /// Something was ordered for a slot, or that is done.
    SlotOrdered {
        /// The pool.
        pool: PoolName,
        /// The slot.
        slot: SlotNo,
        /// What.
        standing: Standing,
    },
    /// A container died.
    Died(Box<Obituary>),
}

/// Something a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this attempt.
    Run(TaskId, AttemptNo),
    /// Stop this attempt.
    Cancel(TaskId, AttemptNo),
}

/// Something to do with Docker.
#[derive(Clone, Debug, PartialEq)]
pub enum FleetAction {
    /// See to everything that the pool's containers are made of; answered by `ImageReady` or
    /// `ImageFailed`.
    Prepare {
        /// Which pool.
        pool: PoolName,
        /// To be said in the answer.
        version: PoolVersion,
        /// As it is wanted.
        spec: Arc<PoolSpec>,
    },
    /// Make and start a container; answered by `ContainerStarted` or `ContainerFailed`.
    Create {
        /// Whose container.
        worker: WorkerId,
        /// What it is made of.
        version: PoolVersion,
        /// As its pool is wanted.
        spec: Arc<PoolSpec>,
        /// Where it listens inside.
        port: u16,
        /// The port on the host, where it has one.
        published: Option<u16>,
    },
    /// Look at a container, kill what still lives of it and remove it; answered by `Buried`.
    Bury {
        /// Whose container.
        worker: WorkerId,
        /// Which; `None` when the making never got as far as an id.
        container: Option<ContainerId>,
    },
    /// Ask a worker without a link how it is; answered by `WorkerProbed`.
    Probe {
        /// Which worker.
        worker: WorkerId,
        /// Its container.
        container: ContainerId,
        /// The port of its own pages.
        port: u16,
    },
    /// Remove a container that no slot needs; not answered.
    RemoveStray(ContainerId),
    /// Begin to measure a container; not answered.
    Measure {
        /// Which worker.
        worker: WorkerId,
        /// Its container.
        container: ContainerId,
    },
}

/// Something worth a line in the leader's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A payload arrived.
    ReceivedPayload(TaskId),
    /// A payload went to the worker at a port.
    SentPayload(TaskId, u16),
    /// A result arrived.
    ReceivedResult(TaskId),
    /// The end of a task is known to callers.
    SentResult(TaskId),
    /// A worker is gone.
    WorkerCrashed,
    /// Anything else about the fleet, for people.
    Fleet(String),
}
