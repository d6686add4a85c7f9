//! The facts that the reducer is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use clb_protocol::api::Usage;
use clb_protocol::link::{AttemptResult, WorkerHello};
use clb_protocol::pool::PoolSpec;
use clb_protocol::task::{NewTask, Retry};
use clb_protocol::{
    AttemptNo, ContainerId, Epoch, Generation, OutcomeSeq, PoolName, PoolVersion, SlotNo, SubmissionSeq,
    TaskId, Timestamp, WorkerId,
};

use crate::build::{Build, Builds};
use crate::clock::Moment;
use crate::fleet::{Remains, Standing};
use crate::task::RunningAttempt;

/// One worker's link, numbered by the leader in the order of their opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNo(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Callers sent tasks, in this order. Ids are unique within one input.
    Submitted(Vec<Arc<NewTask>>),
    /// These submissions are on disk.
    Stored(Vec<TaskId>),
    /// These submissions are not on disk and never will be: known already, or the store refused.
    NotStored(Vec<TaskId>),
    /// A caller wants tasks to end.
    CancelRequested {
        /// Which ones; each once.
        ids: Vec<TaskId>,
        /// Those of them that stand elsewhere are spared.
        which: Cancellable,
    },
    /// The store stopped or resumed taking changes. While it does not, no task is handed out.
    StoreAvailable(bool),

    /// A caller wants a pool to be like this.
    PoolPut {
        /// Which.
        name: PoolName,
        /// How; checked already, but for its ports.
        spec: Box<PoolSpec>,
    },
    /// A caller wants no more of what callers made of a pool.
    PoolRemoved(PoolName),
    /// A caller wants a pool to hand out nothing, or to go on.
    PoolPaused {
        /// Which.
        name: PoolName,
        /// Whether it is to rest.
        is_paused: bool,
    },
    /// A caller ordered something for the worker of this name.
    WorkerOrdered {
        /// Its stable name.
        name: String,
        /// What.
        standing: Standing,
    },
    /// A pool's containers can be made.
    ImageReady {
        /// Which pool.
        pool: PoolName,
        /// As it was when that was asked.
        version: PoolVersion,
    },
    /// A pool's image cannot be had.
    ImageFailed {
        /// Which pool.
        pool: PoolName,
        /// As it was when that was asked.
        version: PoolVersion,
        /// Why, for people.
        reason: String,
    },

    /// A worker opened a link.
    WorkerJoined {
        /// The new link.
        link: LinkNo,
        /// What it said first.
        hello: WorkerHello,
    },
    /// A worker said something; an empty report is its heartbeat.
    WorkerReported {
        /// On which link.
        link: LinkNo,
        /// Attempts that ended.
        finished: Vec<AttemptResult>,
        /// What it gives back unfinished, when it is leaving.
        leaving: Option<Vec<(TaskId, AttemptNo)>>,
    },
    /// A worker's link ended.
    LinkClosed(LinkNo),
    /// An order was not sent: what the worker has to know cannot be read at the moment, or the attempt was over
    /// by the time it was.
    OrderLost {
        /// To which worker.
        link: LinkNo,
        /// Which task.
        task: TaskId,
        /// Which attempt of it.
        attempt: AttemptNo,
    },
    /// An order was not sent, because what the worker has to know can never be read again.
    OrderUnreadable {
        /// To which worker.
        link: LinkNo,
        /// Which task.
        task: TaskId,
        /// Which attempt of it.
        attempt: AttemptNo,
        /// Why, for people.
        reason: String,
    },
    /// What a worker without a link answered when it was asked.
    WorkerProbed {
        /// Which worker.
        worker: WorkerId,
        /// What it answered.
        answer: ProbeAnswer,
    },

    /// Every container of the workers that Docker knows.
    FleetObserved {
        /// The containers.
        seen: Vec<SeenWorker>,
        /// When Docker was asked: what changed since then is newer than this.
        asked_at: Moment,
    },
    /// What containers are made of now.
    BuildsSeen {
        /// What one would be made of that was made now.
        builds: Builds,
        /// The images of the orchestrators' containers that run.
        orchestrators: BTreeSet<Build>,
        /// Those of the others.
        stopped: BTreeSet<Build>,
    },
    /// A container was made and started.
    ContainerStarted {
        /// For which worker.
        worker: WorkerId,
        /// Docker's id of it.
        container: ContainerId,
    },
    /// A container could not be made or started; nothing of it is left.
    ContainerFailed {
        /// For which worker.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// Somebody sent a signal to a container through Docker.
    ContainerSignalled {
        /// Which worker.
        worker: WorkerId,
        /// Which signal.
        signal: i64,
    },
    /// A container's process ended.
    ContainerDied(WorkerId),
    /// A dead container was looked at and removed.
    Buried {
        /// Which worker.
        worker: WorkerId,
        /// What was found.
        remains: Remains,
    },
    /// The engine measured a container.
    UsageSampled {
        /// Which worker.
        worker: WorkerId,
        /// What it uses.
        usage: Usage,
    },
    /// The cluster is being taken down: give everything back and make no more containers.
    Retired,
    /// The leader itself did not run for a while: silence says nothing.
    Resumed,
    /// Nothing else happened, but a deadline came.
    TimePassed,
}

/// Which tasks may be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellable {
    /// All that have not ended.
    Open,
    /// Those that wait.
    Waiting,
    /// Those that run.
    Running,
}

/// What a worker without a link answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It simulates a crash.
    Stopped,
    /// It answers like a healthy one.
    Alive,
    /// It does not answer.
    Silent,
}

/// A worker's container as Docker lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenWorker {
    /// Docker's id.
    pub container: ContainerId,
    /// Who it says it is.
    pub worker: WorkerId,
    /// What it is made of.
    pub version: PoolVersion,
    /// Of which image or program it is; `None` where that is not said.
    pub build: Option<Build>,
    /// Where it listens inside; `None` where that is not said.
    pub port: Option<u16>,
    /// The port on the host, where it has one.
    pub published: Option<u16>,
    /// Whether its process lives, paused or not.
    pub alive: bool,
}

/// What a new leader reads from the store, but for the tasks.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The term that begins.
    pub epoch: Epoch,
    /// What callers made of pools.
    pub pools: Vec<RestoredPool>,
    /// The newest generation of each slot.
    pub generations: Vec<(PoolName, SlotNo, Generation)>,
    /// What was ordered for slots.
    pub standings: Vec<(PoolName, SlotNo, Standing)>,
    /// The last submission's number.
    pub last_submission: SubmissionSeq,
    /// The last outcome's number.
    pub last_outcome: OutcomeSeq,
    /// How many tasks ended so far: succeeded, failed, cancelled.
    pub ended: [u64; 3],
}

/// What callers made of a pool, as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredPool {
    /// Its name.
    pub name: PoolName,
    /// How it is wanted; `None` leaves that to the operator's definition.
    pub spec: Option<PoolSpec>,
    /// Whether it hands out nothing.
    pub is_paused: bool,
}

/// A task without an outcome, as the store has it.
#[derive(Clone, Debug)]
pub struct RestoredTask {
    /// Its name.
    pub id: TaskId,
    /// Its place in the order of submissions.
    pub seq: SubmissionSeq,
    /// Its pool.
    pub pool: PoolName,
    /// Its priority.
    pub priority: i8,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// It does not run before.
    pub not_before: Option<Timestamp>,
    /// How many attempts may be lost or fail.
    pub max_attempts: u32,
    /// Seconds that one attempt may take.
    pub timeout_seconds: f64,
    /// What is repeated after which rest, where it asks for something of its own.
    pub retry: Option<Retry>,
    /// How many attempts were lost or failed so far, those that cost none left out.
    pub spent: u32,
    /// The newest attempt's number; 0 before the first.
    pub last_attempt: AttemptNo,
    /// When the newest attempt ended, if it did and that counts.
    pub rests_since: Option<Timestamp>,
    /// The attempt that has no end on record.
    pub open: Option<RunningAttempt>,
    /// The attempts that ended without a verdict on record, oldest first.
    pub unjudged: Vec<RunningAttempt>,
}
