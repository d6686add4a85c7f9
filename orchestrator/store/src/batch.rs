//! What is made durable in one go.

use clb_core::output::Change;
use clb_protocol::link::ContainerIdentity;
use clb_protocol::{ContainerId, ContainerNo, LogSeq, MemberName, TaskId, Timestamp};
use serde_json::value::RawValue;

/// One commit.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The core's changes, in order.
    pub changes: Vec<Change>,
    /// New log lines, by `seq`.
    pub logs: Vec<LogEntry>,
    /// Containers that registered.
    pub containers: Vec<Registration>,
    /// Containers that are not known any more, with all that is known of them but their lines.
    pub forgotten: Vec<ContainerNo>,
    /// Orchestrators that are new or changed.
    pub members: Vec<Member>,
}

/// What a commit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Tasks that were to be accepted though their id or idempotency key is stored already. They, and
    /// every other change of them in the batch, were left out.
    pub duplicates: Vec<TaskId>,
}

/// One line of some container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place among all lines.
    pub seq: LogSeq,
    /// When the container wrote it.
    pub at: Timestamp,
    /// Which container.
    pub container: ContainerNo,
    /// The task that it speaks of.
    pub task: Option<TaskId>,
    /// What it says.
    pub message: String,
}

/// A container and the number that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its number, from 1.
    pub no: ContainerNo,
    /// Who it is.
    pub identity: ContainerIdentity,
    /// When it registered.
    pub at: Timestamp,
}

/// An orchestrator, as the others need to know it to bring it back.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its stable name.
    pub name: MemberName,
    /// Docker's id of its container.
    pub container: ContainerId,
    /// Its base URL inside the cluster's network.
    pub url: String,
    /// Its base URL for callers on the host.
    pub public_url: String,
    /// From what its container can be made again; the store does not look inside.
    pub blueprint: Option<Box<RawValue>>,
}
