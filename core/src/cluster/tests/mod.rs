//! The reducer against a small model of everything around it: a store, an engine and workers.

mod builds;
mod clocks;
mod containers;
mod endings;
mod orders;
mod pools;
mod properties;
mod rollover;
mod sentences;
mod standings;
mod stored_pools;
mod takeover;
mod waiting;
mod world;
