//! What is decided in CLB: one reducer over tasks, workers and the fleet.
//!
//! [`Cluster::handle`] is the one way to change the state of tasks, workers and pools. It is told facts ([`Input`]) and
//! answers with intentions ([`Output`]): changes to make durable, orders for workers, actions on the
//! fleet, log lines. It does no I/O, reads no clock and rolls no dice; time comes in with each fact,
//! so any run can be replayed.
//!
//! Not here: how a change is stored, how an order is sent, how a container is made.

pub mod build;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod fleet;
pub mod input;
pub mod lease;
mod lookup;
pub mod output;
pub mod placement;
pub mod pool;
pub mod ports;
pub mod queue;
pub mod task;

pub use cluster::{Cluster, Restoration};
pub use config::Config;
pub use input::Input;
pub use output::Output;
