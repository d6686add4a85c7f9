//! One worker of CLB: a small process that holds a link to the leader, runs what the leader orders
//! and keeps every result until the leader has it on disk.
//!
//! One thread does everything except burning a core: orders, timers, reports and pages wait for each
//! other for microseconds, and a process with one busy thread stays small.

mod agent;
mod config;
mod container_id;
mod journal;
mod link;
mod meter;
mod pages;
mod run;
mod worker;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::config::Config;
use crate::journal::Journal;
use crate::worker::{Ending, StartError, Worker};

/// Only name resolution runs on such threads. It may hang for long on the name of a container that is
/// gone, which must not keep the names of the living from being found.
const RESOLVER_THREADS: usize = 16;
const RESOLVER_STACK_BYTES: usize = 512 * 1024;

fn main() -> ExitCode {
    let config = Config::parse();
    let journal = Journal::on_stdout();
    journal::collect_tracing(&journal, &config.log);
    match run(config, journal) {
        Ok(Ending::Left) => tracing::info!("Left the cluster as asked"),
        Ok(Ending::Orphaned) => tracing::warn!("Found no leader for too long: ends"),
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(config: Config, journal: Journal) -> Result<Ending, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(RESOLVER_THREADS)
        .thread_stack_size(RESOLVER_STACK_BYTES)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(StartError::Runtime)?;
    let ending = runtime.block_on(Worker::serve(config, journal));
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    ending
}
