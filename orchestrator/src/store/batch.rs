//! What is made durable in one go.

use clb_core::output::Change;
use clb_protocol::link::ContainerIdentity;
use clb_protocol::{ContainerId, ContainerNo, LogSeq, MemberName, TaskId, Timestamp};
use serde_json::value::RawValue;

/// One commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// The core's changes, in order.
    pub(crate) changes: Vec<Change>,
    /// New log lines, by `seq`.
    pub(crate) logs: Vec<LogEntry>,
    /// Containers that registered.
    pub(crate) containers: Vec<Registration>,
    /// Containers that are not known any more, with all that is known of them but their lines.
    pub(crate) forgotten: Vec<ContainerNo>,
    /// Orchestrators that are new or changed.
    pub(crate) members: Vec<Member>,
}

/// What a commit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Tasks that were to be accepted though their id or idempotency key is stored already. They, and
    /// every other change of them in the batch, were left out.
    pub(crate) duplicates: Vec<TaskId>,
}

/// One line of some container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// Its place among all lines.
    pub(crate) seq: LogSeq,
    /// When the container wrote it.
    pub(crate) at: Timestamp,
    /// Which container.
    pub(crate) container: ContainerNo,
    /// The task that it speaks of.
    pub(crate) task: Option<TaskId>,
    /// What it says.
    pub(crate) message: String,
}

/// A container and the number that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Its number, from 1.
    pub(crate) no: ContainerNo,
    /// Who it is.
    pub(crate) identity: ContainerIdentity,
    /// When it registered.
    pub(crate) at: Timestamp,
}

/// An orchestrator, as the others need to know it to bring it back.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its stable name.
    pub(crate) name: MemberName,
    /// Docker's id of its container.
    pub(crate) container: ContainerId,
    /// Its base URL inside the cluster's network.
    pub(crate) url: String,
    /// Its base URL for callers on the host.
    pub(crate) public_url: String,
    /// From what its container can be made again; the store does not look inside.
    pub(crate) blueprint: Option<Box<RawValue>>,
}
