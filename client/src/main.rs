//! `clb`, the command line of CLB. Each command is a module of `cli`; this file only begins and ends.

mod cli;
mod config;
mod connection;
mod failure;
mod healthcheck;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cli::completion::answer_a_shell();
    run()
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> ExitCode {
    match cli::CommandLine::parse().run().await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}
