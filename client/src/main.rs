//! `clb`, the command line of CLB. Each command is a module; this file only chooses.

mod connection;
mod healthcheck;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "clb", version, about = "Talks to a CLB cluster", propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the web page that creates and sends payloads and shows their results
    Serve(serve::ServeOptions),
    /// Ask the web page of this machine whether it is alive; ends with 0 or 1
    Healthcheck(healthcheck::HealthcheckOptions),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Serve(options) => serve::run(options).await.map_err(|error| chain(&error)),
        Command::Healthcheck(options) => healthcheck::run(&options).await.map_err(|error| chain(&error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("clb: {message}");
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, for a person.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
