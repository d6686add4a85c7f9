//! The reducer against a small model of everything around it: a store, an engine and workers.

mod builds;
mod clocks;
mod endings;
mod orders;
mod pools;
mod properties;
mod sentences;
mod stored_pools;
mod waiting;
mod world;
