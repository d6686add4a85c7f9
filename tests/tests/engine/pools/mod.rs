//! Pools: any image, changed while it runs.

mod images;
mod limits;
mod requests;
mod rolling;
mod supplies;
mod takedown;
mod workers;
