//! An orchestrator of CLB: thin edges around the core. `app.rs` wires them.

mod app;
mod config;
mod docker;
mod fleet;
mod follow;
mod http;
mod journal;
mod leader;
mod node;
mod roster;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::config::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => {
            let filter = tracing_subscriber::EnvFilter::try_new(&options.log).unwrap_or_default();
            tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false).init();
            match app::serve(*options).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Healthcheck { listen } if http::is_healthy(listen).await => ExitCode::SUCCESS,
        Command::Healthcheck { .. } => ExitCode::FAILURE,
    }
}
