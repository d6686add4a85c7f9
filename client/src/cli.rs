//! The command line: what can be asked for. Each command is a module that does it.

mod absent;
pub(crate) mod asked;
mod batch;
mod cancel;
mod cluster;
pub(crate) mod completion;
mod explain;
mod filters;
mod gaps;
mod grid;
mod held_up;
mod interrupt;
mod lines;
mod list;
mod live;
mod logs;
mod map;
mod output;
mod placeholder;
mod pool;
mod progress;
mod reason;
mod results;
mod show;
mod submit;
mod task_name;
mod task_options;
mod top;
pub(crate) mod values;
mod wait;
mod workers;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::connection::ClusterOptions;
use crate::failure::{Done, OK};
use crate::{healthcheck, serve};
use output::Printer;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    a task failed or was cancelled
  2    the command line, the configuration or the input is invalid
  3    no orchestrator could be reached, or none was leading, within --patience
  4    the cluster refused the request: invalid, conflict, queue full or not allowed
  5    no such task, group, pool or worker
  123  map: some commands failed
  124  submit --wait: the task timed out; wait: --timeout expired
  125  map, logs, results --csv and --json: some output is missing; submit --wait: see below
  130  interrupted with Ctrl-C (tasks keep running); submit --wait: the task was cancelled
  141  the reader of the output went away

submit --wait exits with the exit code of the command, with 128 + N if signal \
N killed it, and with 125 if something other than the command failed: the \
cluster could not be reached or refused the task, the task was lost with its \
workers, or some of its output is missing.";

/// What `clb` is called with.
#[derive(Debug, Parser)]
#[command(
    name = "clb",
    version,
    about = "Run commands and other tasks on the workers of a CLB cluster",
    after_help = EXIT_CODES,
    propagate_version = true
)]
pub(crate) struct CommandLine {
    /// Print JSON: one document, or one per line where there can be many
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit a command (or a sleep or spin) as a task and print its id
    Submit(submit::SubmitOptions),
    /// Submit the tasks in a file, one JSON object per line
    Batch(batch::BatchOptions),
    /// Run a command for each line of standard input, like xargs or GNU parallel
    ///
    /// With --group, an interrupted run can be repeated: the same line at the same position with the same command is
    /// the same task, so only what is missing runs, and everything is printed. Without --group every run is new.
    Map(map::MapOptions),
    /// Wait for tasks to end
    Wait(wait::WaitOptions),
    /// Print the results of a group in the order its tasks ended
    Results(results::ResultsOptions),
    /// List tasks, newest first
    List(list::ListOptions),
    /// Show everything about a task
    Show(show::ShowOptions),
    /// Print the output of a command, or the log lines about a task of another kind
    Logs(logs::LogsOptions),
    /// Cancel tasks
    #[command(mut_arg("state", |state| state.value_parser(values::open())))]
    Cancel(cancel::ChooseOptions),
    /// Run ended tasks again, as new tasks
    #[command(mut_arg("state", |state| state.value_parser(values::end())))]
    Retry(cancel::RetryOptions),
    /// Explain why a task is waiting, or why it ran where it did
    Explain(explain::ExplainOptions),
    /// List the workers
    Workers,
    /// Manage pools of workers
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    /// Let a worker finish its tasks and take no new ones
    Drain(workers::WorkerName),
    /// Drain a worker and replace it
    Restart(workers::WorkerName),
    /// Let a drained worker take tasks again
    Resume(workers::WorkerName),
    /// Show the orchestrators and the task counts
    Cluster,
    /// Watch the cluster live
    Top(top::TopOptions),
    /// Serve the web page for creating payloads and watching their results
    Serve(serve::ServeOptions),
    /// Check that the web page on this machine is up; exits with 0 or 1
    Healthcheck(healthcheck::HealthcheckOptions),
    /// Print the completion script for a shell; load it at startup: source <(clb completions bash)
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl CommandLine {
    /// Does what was asked for.
    pub(crate) async fn run(self) -> Done {
        let printer = Printer::new(self.json);
        match self.command {
            Command::Serve(options) => {
                serve::run(options, self.cluster.client()?).await?;
                Ok(OK)
            }
            Command::Healthcheck(options) => {
                healthcheck::run(&options).await?;
                Ok(OK)
            }
            Command::Completions { shell } => completion::print_script(shell),
            command => command.ask(&self.cluster, printer).await,
        }
    }
}

impl Command {
    async fn ask(self, cluster: &ClusterOptions, printer: Printer) -> Done {
        let client = cluster.talking_client();
        let client = match (&self, client) {
            (Self::Submit(options), Err(failure)) if options.is_waiting() => {
                return Ok(submit::own_failure(&failure));
            }
            (_, client) => client?,
        };
        match self {
            Self::Submit(options) => submit::run(options, &client, printer).await,
            Self::Batch(options) => batch::run(options, &client, printer).await,
            Self::Map(options) => map::run(options, &client, printer).await,
            Self::Wait(options) => Box::pin(wait::run(options, &client, printer)).await,
            Self::Results(options) => results::run(options, &client, printer).await,
            Self::List(options) => list::run(options, &client, printer).await,
            Self::Show(options) => show::run(&options, &client, printer).await,
            Self::Logs(options) => logs::run(&options, &client, printer).await,
            Self::Cancel(options) => cancel::cancel(options, &client, printer).await,
            Self::Retry(options) => cancel::retry(options, &client, printer).await,
            Self::Explain(options) => explain::run(&options, &client, printer).await,
            Self::Workers => workers::list(&client, printer).await,
            Self::Pool(command) => pool::run(command, &client, printer).await,
            Self::Drain(worker) => workers::print(&client.drain_worker(&worker.name).await?, printer),
            Self::Restart(worker) => workers::print(&client.restart_worker(&worker.name).await?, printer),
            Self::Resume(worker) => workers::print(&client.resume_worker(&worker.name).await?, printer),
            Self::Cluster => cluster::run(&client, printer).await,
            Self::Top(options) => top::run(options, &client, printer).await,
            Self::Serve(_) | Self::Healthcheck(_) | Self::Completions { .. } => Ok(OK),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn only_states_that_can_apply_are_offered() {
        let offered = |command: &str| {
            let line = CommandLine::command();
            let command = line.find_subcommand(command).unwrap();
            let state = command.get_arguments().find(|argument| argument.get_id() == "state").unwrap();
            state.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(offered("cancel"), ["queued", "running"]);
        assert_eq!(offered("retry"), ["succeeded", "failed", "cancelled"]);
        assert_eq!(offered("list").len(), 5);
        let parses = |line: &str| CommandLine::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("clb cancel --state queued") && !parses("clb cancel --state failed"));
        assert!(parses("clb retry --state failed") && !parses("clb retry --state running"));
    }

    #[test]
    fn a_command_comes_behind_two_dashes_or_is_replaced_by_a_sleep() {
        let parses = |line: &str| CommandLine::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("clb submit -- echo -n a"));
        assert!(parses("clb submit --sleep 2"));
        assert!(parses("clb map --jobs 4 -- convert {} {.}.png"));
        assert!(!parses("clb submit"));
        assert!(!parses("clb submit --sleep 2 -- echo"));
        assert!(!parses("clb submit --sleep 2 --spin 1"));
        assert!(!parses("clb submit --id 0197 -- echo"));
        assert!(!parses("clb wait"));
        assert!(!parses("clb cancel"));
    }
}
