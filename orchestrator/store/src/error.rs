//! Why the store did not do what it was asked.

use clb_protocol::Epoch;

/// The cause, as the implementation reports it.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// The result of asking the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store did not do what it was asked. Nothing of a refused change is stored, except after
/// [`StoreError::Io`], where it may be.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another leader's term has begun, or this one was given up. Nobody's fault; the asker must stop
    /// leading and not retry.
    #[error("another term has begun: the store is at epoch {current}")]
    Fenced {
        /// The newest term.
        current: Epoch,
    },
    /// Another orchestrator took the lease first. Nobody's fault; the asker stands by and looks again.
    #[error("the lease was taken by another orchestrator, which began epoch {current}")]
    LeaseLost {
        /// The newest term.
        current: Epoch,
    },
    /// The volume has no room. Retry: it succeeds as soon as there is some.
    #[error("the store's volume is full: free some space on it; the service resumes by itself ({source})")]
    Full {
        /// What the implementation says.
        source: Source,
    },
    /// The file or its volume cannot be written. Retry: it succeeds once it can be.
    #[error(
        "the store is read-only: make its file and volume writable; the service resumes by itself ({source})"
    )]
    ReadOnly {
        /// What the implementation says.
        source: Source,
    },
    /// Another process holds the store's lock, perhaps one that is frozen (a paused container). Retry.
    #[error(
        "the store is locked by another process: if an orchestrator is paused, unpause or kill it ({source})"
    )]
    Busy {
        /// What the implementation says.
        source: Source,
    },
    /// The store is not there, or not set up yet. Retry.
    #[error("the store cannot be opened yet: {detail}")]
    Unavailable {
        /// What is missing.
        detail: String,
    },
    /// The disk or its file system failed. The volume's fault; retry.
    #[error("the store's volume failed: check its disk ({source})")]
    Io {
        /// What the implementation says.
        source: Source,
    },
    /// A newer version of the software has written it. Do not retry.
    #[error(
        "the store has version {found} and this software knows versions up to {known}: \
         run the newer software again, or restore a backup that this one made"
    )]
    NewerVersion {
        /// The store's version.
        found: u32,
        /// The newest that this software knows.
        known: u32,
    },
    /// The file belongs to something else. The configuration's fault; do not retry.
    #[error(
        "{path} is not a store of CLB and was left untouched: point CLB_STORE to another file, or move this one away"
    )]
    NotOurs {
        /// The file.
        path: String,
    },
    /// The file is damaged. Do not retry.
    #[error(
        "the store is damaged and was left as it is: stop the orchestrators, move it away \
         and put a backup in its place ({detail})"
    )]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// A change contradicts what is stored. A defect of this software; do not retry: a leader that
    /// restores again begins from what is true.
    #[error("a change contradicts what is stored, which is a defect of this software: {detail}")]
    Conflict {
        /// What contradicts what.
        detail: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Busy { .. }
            | Self::Unavailable { .. }
            | Self::Io { .. } => true,
            Self::Fenced { .. }
            | Self::LeaseLost { .. }
            | Self::NewerVersion { .. }
            | Self::NotOurs { .. }
            | Self::Corrupt { .. }
            | Self::Conflict { .. } => false,
        }
    }
}
