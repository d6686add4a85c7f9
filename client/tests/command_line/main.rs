//! The real `clb` against stand-ins for the orchestrators: what it prints, and the codes that it exits with.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod asking;
mod batches;
mod changes;
mod completing;
mod gaps;
mod mapping;
mod names;
mod operating;
mod program;
mod reasons;
mod replays;
#[path = "../stand_in/mod.rs"]
mod stand_in;
mod submitting;
