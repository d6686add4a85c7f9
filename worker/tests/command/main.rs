//! Programs as a worker runs them: real shepherds, real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bench;
mod endings;
mod leftovers;
mod streams;
