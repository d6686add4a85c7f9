//! The harness of the fault tests: whole clusters of the real programs on a real Docker Engine.
//!
//! ```text
//! images    the programs that cargo just built, as images
//! run       what belongs to this process, and its removal whatever happens
//! engine    Docker, through its command line
//! http      requests as any caller would send them
//! cluster   one cluster: its start, its vocabulary, its end
//! registry  images to pull
//! dice      chance with a seed
//! tasks     what tests submit
//! patience  waiting for a state instead of for a time
//! ```

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness fails by panicking, like the tests that it serves"
)]

pub mod cluster;
pub mod dice;
pub mod engine;
pub mod http;
pub mod images;
pub mod patience;
pub mod registry;
pub mod run;
pub mod tasks;

pub use cluster::{Cluster, Setup};
pub use patience::{LONG, SOON, eventually};
pub use tasks::{command, sleep, spin, steps};
