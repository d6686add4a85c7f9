//! What is said between the parts of CLB: ids, task specs, the messages of the public API and of
//! the links that workers and standbys hold to the leader.
//!
//! Not here: what is decided (`clb-core`) and how anything is sent or stored.

pub mod api;
pub mod ids;
pub mod link;
pub mod pool;
pub mod seed;
pub mod task;
pub mod time;

pub use ids::{
    AttemptNo, ContainerId, ContainerNo, Epoch, Generation, Incarnation, LogSeq, MemberName, OutcomeSeq,
    PoolName, PoolVersion, SlotNo, SubmissionSeq, TaskId, TaskIdPart, WorkerId,
};
pub use time::Timestamp;
