//! A promise that was broken, for people.

use clb_protocol::api::TaskState;
use clb_protocol::{Epoch, MemberName, OutcomeSeq, TaskId};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("task {task} was acknowledged and has no outcome (cancellation answered: {is_cancelled})")]
    Lost { task: TaskId, is_cancelled: bool },
    #[error("task {task} has two outcomes, {} and {}", seqs[0], seqs[1])]
    TwoOutcomes { task: TaskId, seqs: [OutcomeSeq; 2] },
    #[error("outcome {seq} of task {task} is not as it must be: {why}")]
    WrongOutcome { task: TaskId, seq: OutcomeSeq, why: String },
    #[error("outcome {seq} of task {task} came after {last}")]
    OutOfOrder { task: TaskId, seq: OutcomeSeq, last: OutcomeSeq },
    #[error("outcome {seq} of task {task} is another than when it was read first")]
    Changed { task: TaskId, seq: OutcomeSeq },
    #[error("outcome {seq} of task {task} was not there when those after it were read")]
    CameLate { task: TaskId, seq: OutcomeSeq },
    #[error("{first} outcomes were read, and only {again} when all of them were read again")]
    Vanished { first: u64, again: u64 },
    #[error("{recorded} outcomes are on record, and the cluster counts {told}")]
    Miscounted { recorded: u64, told: u64 },
    #[error("task {task} ended as {} though its cancellation was answered 200", state.as_str())]
    NotCancelled { task: TaskId, state: TaskState },
    #[error("task {task} was acknowledged and nobody sent it")]
    UnknownAcknowledged { task: TaskId },
    #[error("task {task} was refused with {status}: {detail}")]
    Refused { task: TaskId, status: u16, detail: String },
    #[error("the key {key} is {} and {}", tasks[0], tasks[1])]
    KeyOfTwo { key: String, tasks: [TaskId; 2] },
    #[error("task {original} was replayed as {} and as {}", replays[0], replays[1])]
    ReplayedTwice { original: TaskId, replays: [TaskId; 2] },
    #[error("{door} told epoch {now} after {before}")]
    EpochFell { door: String, before: Epoch, now: Epoch },
    #[error("epoch {epoch} has two leaders, {} and {}", leaders[0], leaders[1])]
    TwoLeaders { epoch: Epoch, leaders: [MemberName; 2] },
    #[error("of {sent} waiting tasks {found} are there")]
    WaitingLost { sent: u64, found: u64 },
    #[error("{0}")]
    NotHealed(String),
}

impl Violation {
    /// The tasks that it is about.
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        match self {
            Self::Lost { task, .. }
            | Self::TwoOutcomes { task, .. }
            | Self::WrongOutcome { task, .. }
            | Self::OutOfOrder { task, .. }
            | Self::Changed { task, .. }
            | Self::CameLate { task, .. }
            | Self::NotCancelled { task, .. }
            | Self::UnknownAcknowledged { task }
            | Self::Refused { task, .. } => vec![*task],
            Self::KeyOfTwo { tasks, .. } => tasks.to_vec(),
            Self::ReplayedTwice { original, replays } => vec![*original, replays[0], replays[1]],
            _ => Vec::new(),
        }
    }
}
