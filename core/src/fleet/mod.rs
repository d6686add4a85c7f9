//! The fleet: one [`Slot`] for every place in every pool, and what to do about it.
//!
//! ```text
//!              create                 joins, or is found alive
//! Vacant ----------------> Starting ------------------------------> Up
//!   ^                          |                                    |
//!   |  removed                 | fails, or does not join            | dies, hangs, leaves
//!   +---------- Burying <------+------------------------------------+
//! ```

mod backoff;
mod revival;
mod slot;
mod verdict;

pub use backoff::Backoff;
pub use revival::{Fall, revive_at};
pub use slot::{Course, Held, Link, Slot, Stage, Standing, Worker};
pub use verdict::{End, Remains, is_by_hand, judge, memory_peak};
