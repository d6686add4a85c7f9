//! One worker of CLB: a small process that holds a link to the leader, runs what the leader orders
//! and keeps every result until the leader has it on disk.
//!
//! One thread does everything except burning a core: orders, timers, reports and pages wait for each
//! other for microseconds, and a process with one busy thread stays small. Programs are kept by
//! processes of their own, which are this program again.
//!
//! The library is the whole worker; only [`run::command`] is of use to others, who measure it.

mod agent;
mod config;
mod container_id;
mod journal;
mod link;
mod meter;
mod pages;
pub mod run;
mod worker;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clb_outlet::Outlet;
use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};

use crate::config::Config;
use crate::journal::Journal;
use crate::run::command::{SHEPHERD, shepherd_main};
use crate::worker::{Ending, StartError, Worker};

/// Only name resolution runs on such threads. It may hang for long on the name of a container that is
/// gone, which must not keep the names of the living from being found.
const RESOLVER_THREADS: usize = 16;
const RESOLVER_STACK_BYTES: usize = 512 * 1024;

/// The program: a worker, or one of its shepherds.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == SHEPHERD) {
        return shepherd_main();
    }
    let config = Config::parse();
    let output = Outlet::stdout();
    let _farewell = output.farewell();
    output.report_panics();
    let journal = Journal::on(output);
    journal::collect_tracing(&journal, &config.log);
    guard_process();
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

/// Programs run as the same user: they must not read the secret in the environment of this process.
/// What a killed shepherd kept comes to this process, which knows what to do with it.
fn guard_process() {
    let guarded = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| set_child_subreaper(Some(getpid())));
    if let Err(error) = guarded {
        tracing::warn!("This system does not let the worker guard itself against its programs: {error}");
    }
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
