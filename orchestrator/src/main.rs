//! An orchestrator of CLB: thin edges around the core. `app.rs` wires them; `clb-database` is a program of
//! its own that only reads the store.

mod app;
mod clock;
mod config;
mod definitions;
mod fleet;
mod follow;
mod http;
mod journal;
mod leader;
mod leave;
mod ndjson;
mod node;
mod roster;

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use clb_outlet::Outlet;
use tracing_subscriber::EnvFilter;

use crate::config::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread for callers, links and the leader's loop: to hand something to another thread takes longer than most of
    // what is done with it. What may take long has threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("clb-orchestrator: the system gives no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli.command));
    // Whoever still reads the store is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> ExitCode {
    match command {
        Command::Serve(options) => {
            let output = Outlet::stdout();
            let _farewell = output.farewell();
            write_log(&options.log, output);
            ended(app::serve(*options).await)
        }
        Command::Database(options) => {
            // Standard output has the containers' log lines and nothing else.
            let (output, complaints) = (Outlet::stdout(), Outlet::stderr());
            let _farewells = [output.farewell(), complaints.farewell()];
            write_log(&options.log, complaints);
            ended(clb_database::run(options, output).await)
        }
        Command::Healthcheck { listen } if http::is_healthy(listen).await => ExitCode::SUCCESS,
        Command::Healthcheck { .. } => ExitCode::FAILURE,
    }
}

/// Messages and panics go to `outlet`.
fn write_log(wanted: &str, outlet: Outlet) {
    outlet.report_panics();
    let filter = EnvFilter::try_new(wanted).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    log.with_writer(move || outlet.clone()).init();
}

fn ended<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
