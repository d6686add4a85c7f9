//! A newtype for every id, so that one can never stand where another belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A task, named by its submitter or by the orchestrator that received it. Always a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

/// Why a text is not the id of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATaskId;

impl fmt::Display for NotATaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a UUID of version 7, as text")
    }
}

impl std::error::Error for NotATaskId {}

impl TaskId {
    /// Makes the newest id. Not for decisions: those receive ids from outside.
    #[must_use]
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as its 16 bytes, which sort by the time they were made.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Takes back what [`TaskId::as_bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        let id = Uuid::parse_str(text).map_err(|_| NotATaskId)?;
        if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(NotATaskId) }
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

numbers! {
    /// The fencing token of a leader's term: a higher one always wins.
    Epoch(u64);
    /// The how-many-th run of a task, from 1.
    AttemptNo(u32);
    /// A place in a pool, from 1; it has a stable name and port.
    SlotNo(u16);
    /// The how-many-th container of a slot, from 1.
    Generation(u64);
    /// The order in which tasks were accepted.
    SubmissionSeq(u64);
    /// The order in which tasks ended.
    OutcomeSeq(u64);
    /// The order of log lines over all containers.
    LogSeq(u64);
    /// The number under which a container registered with the leader, from 1.
    ContainerNo(u32);
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    )*};
}

names! {
    /// A pool: an image with a size and limits.
    PoolName;
    /// An orchestrator, by the name that stays with it over restarts (`orchestrator-1`).
    MemberName;
    /// A Docker container's full id.
    ContainerId;
}

/// One process of a worker or a standby: a restart in the same container is another incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

/// One worker container: the slot that it fills and the how-many-th container there it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// Its place in the pool.
    pub slot: SlotNo,
    /// Which container of that place.
    pub generation: Generation,
}

impl WorkerId {
    /// The worker's stable name, shared by all generations of its slot: `worker-1` in the default
    /// pool, `POOL-1` in any other.
    #[must_use]
    pub fn name(&self) -> String {
        worker_name(&self.pool, self.slot)
    }
}

/// The stable name of a slot's worker; see [`WorkerId::name`].
#[must_use]
pub fn worker_name(pool: &PoolName, slot: SlotNo) -> String {
    if pool.as_str() == crate::task::DEFAULT_POOL {
        format!("worker-{slot}")
    } else {
        format!("{pool}-{slot}")
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (generation {})", self.name(), self.generation)
    }
}
