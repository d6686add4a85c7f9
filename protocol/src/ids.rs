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

    /// The `n`-th id after this one, which is the same whoever asks for it.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        // The last 62 bits are random; those before them hold the time, the version and the variant.
        const RANDOM: u128 = (1 << 62) - 1;
        let bits = self.0.as_u128();
        let random = (bits & RANDOM).wrapping_add(u128::from(n)) & RANDOM;
        Self(Uuid::from_u128((bits & !RANDOM) | random))
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

/// The beginning or the end of a task's id, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskIdPart(String);

/// Why a text is not a part of the id of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPart;

impl fmt::Display for NotAPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "must be at least {} hexadecimal digits that an id begins or ends with",
            TaskIdPart::SHORTEST
        )
    }
}

impl std::error::Error for NotAPart {}

impl TaskIdPart {
    /// Fewer digits than this name nothing.
    pub const SHORTEST: usize = 4;

    /// Its digits in upper case, without hyphens.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskIdPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_ascii_lowercase())
    }
}

impl FromStr for TaskIdPart {
    type Err = NotAPart;

    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect();
        let fits =
            (Self::SHORTEST..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if fits { Ok(Self(digits)) } else { Err(NotAPart) }
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
    /// What a pool's container is made of, as a fingerprint: another one means another container.
    PoolVersion(u64);
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

/// Digits of a container's full id.
const CONTAINER_ID_DIGITS: usize = 64;

impl ContainerId {
    /// The full id of the container that a process runs in, from the text of its `/proc/self/mountinfo`;
    /// `None` outside of one. Docker mounts `/etc/hostname` and its like from a folder that is named by
    /// the id.
    #[must_use]
    pub fn in_mountinfo(mounts: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = |part: &&str| part.len() == CONTAINER_ID_DIGITS && part.bytes().all(is_hex);
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, target) = (fields.next()?, fields.next()?);
            let is_engines = matches!(target, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf");
            let id = root.split('/').find(is_id).filter(|_| is_engines);
            id.map(Self::from)
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_where_its_files_are_mounted_from() {
        let (id, other) = ("3f".repeat(32), "ab".repeat(32));
        for file in ["hostname", "hosts", "resolv.conf"] {
            let mounts = format!(
                "1 0 0:1 / / ro,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/{other}\n\
                 2 1 8:1 /some/{other} /data rw - ext4 /dev/sda rw\n\
                 3 1 8:1 /var/lib/docker/containers/{id}/{file} /etc/{file} rw - ext4 /dev/sda rw\n"
            );
            assert_eq!(ContainerId::in_mountinfo(&mounts), Some(id.as_str().into()), "{file}");
        }
        let short = format!("1 2 254:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw");
        assert_eq!(ContainerId::in_mountinfo(&short), Some(id.as_str().into()));
    }

    #[test]
    fn outside_of_a_container_no_id_is_found() {
        for mounts in ["", "1 0 8:1 / / rw - ext4 /dev/vda rw\n\n", "1 2 0:1 / / rw"] {
            assert_eq!(ContainerId::in_mountinfo(mounts), None, "{mounts:?}");
        }
    }
}
