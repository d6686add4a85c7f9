//! The real system on a real Docker Engine: what it promises, and what it does when its parts die.
//! One test binary, so that the images are made once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "everything here is a test or serves one")]

mod commands;
mod events;
mod leaders;
mod logs;
mod neighbours;
mod outages;
mod pools;
mod requests;
mod stalled_output;
mod store;
mod tasks;
mod turmoil;
mod work;
mod workers;
