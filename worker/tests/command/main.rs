//! Programs as a worker runs them: real shepherds, real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bench;
mod endings;
#[path = "../../src/tests/leader.rs"]
#[allow(dead_code, reason = "other tests need the rest of it")]
mod leader;
mod leftovers;
mod pages;
mod progress;
mod reading;
mod streams;
mod worker;
