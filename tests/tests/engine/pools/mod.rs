//! Pools: any image, changed while it runs.

mod images;
mod limits;
mod operator;
mod ports;
mod requests;
mod rolling;
mod supplies;
mod takedown;
mod upgrades;
mod workers;
