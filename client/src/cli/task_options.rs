//! What a task may ask for beside its work: the options that `submit` and `map` share.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clb_client::protocol::task::{Argv, Command, DEFAULT_POOL, RetryOn, RetryRequest, TaskRequest, Work};
use clb_client::protocol::{TaskId, Timestamp};

use super::completion;
use super::values::{parse_number, parse_pair, parse_seconds, parse_time};
use crate::failure::Failure;

/// See the module.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Task")]
pub(super) struct TaskOptions {
    /// Pool to run in
    #[arg(long, value_name = "POOL", add = completion::pool())]
    pub(super) pool: Option<String>,
    /// Priority from -100 to 100; higher goes first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) priority: Option<i64>,
    /// Time limit for one attempt, in seconds or like 1h30m
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    pub(super) timeout: Option<f64>,
    /// Maximum number of attempts: a task that fails or is lost with its worker is retried until then;
    /// `--max-attempts 1` runs it once [default: 3]
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<u32>,
    /// What is retried: `any` failed attempt, or only a `loss` of the worker; with `loss` a failure, timeout or
    /// out-of-memory kill is final [default: any]
    #[arg(
        long,
        value_name = "WHAT",
        value_parser = PossibleValuesParser::new(RetryOn::NAMES)
            .try_map(|name| RetryOn::named(&name).ok_or("must be any or loss"))
    )]
    pub(super) retry_on: Option<RetryOn>,
    /// Delay before the second attempt; it grows with each further attempt
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    pub(super) retry_delay: Option<f64>,
    /// Factor by which the delay grows [default: 2]
    #[arg(long, value_name = "N", value_parser = parse_number)]
    pub(super) retry_factor: Option<f64>,
    /// Longest delay [default: 30 s, or --retry-delay if that is longer]
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    pub(super) retry_max_delay: Option<f64>,
    /// Vary each delay randomly by up to this fraction, from 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = parse_number)]
    pub(super) retry_jitter: Option<f64>,
    /// Do not run before this time, like 2026-01-31T03:00:00Z or +90m. Use an absolute time with --id or --key: the
    /// same id must come with the same task
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) not_before: Option<Timestamp>,
    /// Group the task belongs to
    #[arg(long, value_name = "TEXT", add = completion::group())]
    pub(super) group: Option<String>,
    /// Label; repeatable
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = parse_pair)]
    pub(super) labels: Vec<(String, String)>,
    /// Environment variable; repeatable
    #[arg(long = "env", short = 'e', value_name = "NAME=TEXT", value_parser = parse_pair)]
    pub(super) env: Vec<(String, String)>,
    /// Exit code that counts as success, instead of 0; repeatable
    #[arg(long = "success-code", value_name = "CODE")]
    pub(super) success_codes: Vec<u8>,
    /// Working directory, an absolute path
    #[arg(long, short = 'w', value_name = "DIRECTORY")]
    pub(super) working_dir: Option<String>,
}

impl TaskOptions {
    /// The pool that it goes to.
    pub(super) fn pool(&self) -> &str {
        self.pool.as_deref().unwrap_or(DEFAULT_POOL)
    }

    /// The command that these words are.
    pub(super) fn command(&self, words: Vec<String>) -> Result<Command, Failure> {
        let argv = Argv::try_from(words).map_err(|error| Failure::Usage(error.to_string()))?;
        let mut command = Command::new(argv);
        command.env = self.env.iter().cloned().collect();
        command.working_dir.clone_from(&self.working_dir);
        if !self.success_codes.is_empty() {
            command.success_codes = self.success_codes.iter().copied().collect();
        }
        Ok(command)
    }

    /// The task as it is submitted.
    pub(super) fn task(&self, work: Work, id: Option<TaskId>) -> TaskRequest {
        let mut task = TaskRequest::new(work);
        task.id = id;
        task.pool.clone_from(&self.pool);
        task.priority = self.priority;
        task.timeout = self.timeout;
        task.max_attempts = self.max_attempts.map(i64::from);
        let retry = RetryRequest {
            max_attempts: None,
            on: self.retry_on,
            delay: self.retry_delay,
            factor: self.retry_factor,
            max_delay: self.retry_max_delay,
            jitter: self.retry_jitter,
        };
        task.retry = (retry != RetryRequest::default()).then_some(retry);
        task.not_before = self.not_before;
        task.group.clone_from(&self.group);
        task.labels = self.labels.iter().cloned().collect();
        task
    }
}

/// A group that nobody else has.
pub(super) fn made_up_group(prefix: &str) -> String {
    let id = TaskId::now().to_string();
    format!("{prefix}-{}", &id[id.len() - 10..])
}
