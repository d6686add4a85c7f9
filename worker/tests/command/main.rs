//! Programs as a worker runs them: real shepherds, real processes.

mod bench;
mod endings;
mod leftovers;
mod streams;
