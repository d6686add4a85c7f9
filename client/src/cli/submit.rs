//! `clb submit`: one task.

use std::cell::Cell;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clb_client::protocol::TaskId;
use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::task::{CommandResult, Exit, Kind, Number, Stdin, Work};
use clb_client::{Client, Error};

use super::gaps::is_incomplete;
use super::held_up::told;
use super::interrupt::interruptible;
use super::live::{self, Gaps};
use super::output::{Printer, document, remark, say};
use super::task_options::TaskOptions;
use super::values::parse_seconds;
use super::{asked, completion};
use crate::failure::{BROKEN_PIPE, Done, Failure, INTERRUPTED, NOT_THE_COMMAND, OK, TIMED_OUT, USAGE};

const NO_NUMBERS: [Number; 2] = [Number::Integer(0), Number::Integer(0)];
/// The cluster takes no more, as a whole task in JSON.
const MOST_BYTES: usize = 1 << 20;
const ELSEWHERE: &str = "put it where the workers can read it, for example in a mount of their pool";

/// What is submitted.
#[derive(Debug, clap::Args)]
pub(crate) struct SubmitOptions {
    /// Standard input for the command: a file, or - for this command's own. The whole task may have up to 1 MiB
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sleep", "spin"])]
    stdin: Option<PathBuf>,
    /// Task id, a UUIDv7; submitting the same id again is the same task
    #[arg(long, value_name = "ID", conflicts_with = "key")]
    id: Option<TaskId>,
    /// Idempotency key, instead of an id; the same key is the same task
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Wait for the task to end: print the output as it comes, and exit with the command's exit code
    #[arg(long)]
    wait: bool,
    /// Sleep for this long instead of running a command
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, conflicts_with = "spin")]
    sleep: Option<f64>,
    /// Keep one core busy for this long instead of running a command
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    spin: Option<f64>,
    /// The program and its arguments; there is no shell
    #[arg(
        last = true,
        value_name = "COMMAND",
        value_hint = completion::WORD,
        required_unless_present_any = ["sleep", "spin"],
        conflicts_with_all = ["sleep", "spin"]
    )]
    command: Vec<String>,
    #[command(flatten)]
    task: TaskOptions,
}

impl SubmitOptions {
    pub(super) fn is_waiting(&self) -> bool {
        self.wait
    }

    fn work(&self) -> Result<Work, Failure> {
        if let Some(seconds) = self.sleep {
            return Ok(Work::sleep(seconds, NO_NUMBERS));
        }
        if let Some(seconds) = self.spin {
            return Ok(Work::spin(seconds, NO_NUMBERS));
        }
        let mut command = self.task.command(self.command.clone())?;
        command.stdin = self.stdin.as_deref().map(read).transpose()?;
        Ok(Work::Command(command))
    }
}

/// Submits.
pub(super) async fn run(options: SubmitOptions, client: &Client, printer: Printer) -> Done {
    if !options.wait {
        let task = submit(&options, client).await?;
        if printer.is_json {
            document(&task)?;
        } else {
            say(task.id)?;
        }
        return Ok(OK);
    }
    match wait(&options, client, printer).await {
        Ok(code) => Ok(code),
        Err(failure) => Ok(own_failure(&failure)),
    }
}

/// The exit code for a failure that must not look like one of the command.
pub(super) fn own_failure(failure: &Failure) -> u8 {
    failure.report();
    match failure.exit_code() {
        code @ (INTERRUPTED | BROKEN_PIPE | USAGE) => code,
        _ => NOT_THE_COMMAND,
    }
}

async fn submit(options: &SubmitOptions, client: &Client) -> Result<TaskView, Failure> {
    let id = options.key.is_none().then(|| options.id.unwrap_or_else(TaskId::now));
    let task = options.task.task(options.work()?, id);
    if let Some(path) = &options.stdin {
        let bytes = serde_json::to_vec(&task).map_err(std::io::Error::from)?.len();
        if bytes > MOST_BYTES {
            let size = format!(
                "the task has {bytes} bytes with {}, more than the limit of {MOST_BYTES}",
                path.display()
            );
            return Err(Failure::Usage(format!("{size}; {ELSEWHERE}")));
        }
    }
    let submitted = match options.key.as_deref() {
        Some(key) => client.submit_with_key(&task, key).await,
        None => client.submit(task).await,
    };
    match submitted.map_err(Failure::from) {
        Err(Failure::Asked(mut errors)) => {
            asked::name_pools(client, options.task.pool(), &mut errors).await;
            Err(Failure::Asked(errors))
        }
        Err(Failure::Client(error)) => {
            if matches!(error, Error::Unavailable { .. } | Error::Broken { .. } | Error::Unreadable { .. }) {
                remark(how_to_repeat(options, id));
            }
            Err(Failure::Client(error))
        }
        other => other,
    }
}

/// Nobody answered, which does not mean that nobody took it.
fn how_to_repeat(options: &SubmitOptions, id: Option<TaskId>) -> String {
    let again = match (id, options.key.as_deref()) {
        (Some(id), _) => format!("`clb submit --id {id} ...`"),
        (None, Some(_)) => "the command with the same --key".to_owned(),
        (None, None) => "the command".to_owned(),
    };
    format!("the task may have been accepted anyway; it is safe to repeat {again}")
}

async fn wait(options: &SubmitOptions, client: &Client, printer: Printer) -> Done {
    let task = submit(options, client).await?;
    let id = task.id;
    let hint = || format!("task {id} keeps running; follow it with `clb logs -f {id}` or `clb wait {id}`");
    let open = Cell::new(Some(id));
    if printer.is_json {
        let ended = interruptible(told(client, &open, None, until_ended(client, id)), hint).await?;
        document(&ended)?;
        return Ok(code_with(&ended, is_incomplete(&ended)));
    }
    let following = Box::pin(live::follow(client, task, Gaps::Unmarked));
    let followed = interruptible(told(client, &open, None, following), hint).await?;
    explain_end(&followed.task);
    Ok(code_with(&followed.task, followed.is_incomplete))
}

/// A success without all of its output must not look like one.
fn code_with(task: &TaskView, is_incomplete: bool) -> u8 {
    if task.state == TaskState::Succeeded && is_incomplete { NOT_THE_COMMAND } else { code_of(task) }
}

/// Waits for as long as it takes.
pub(super) async fn until_ended(client: &Client, id: TaskId) -> Result<TaskView, Failure> {
    loop {
        let task = client.wait(id, Duration::from_hours(1)).await?;
        if task.state.has_ended() {
            return Ok(task);
        }
    }
}

/// Says what the command itself cannot have said.
fn explain_end(task: &TaskView) {
    let is_the_commands =
        result_of(task).is_some_and(|result| matches!(result.exit, Exit::Code(code) if code != 0));
    match (&task.error, task.state) {
        (_, TaskState::Cancelled) => remark(format!("task {} was cancelled", task.id)),
        (Some(error), _) if !is_the_commands || error.code != "failed" => {
            remark(format!("task {} failed: {}", task.id, error.message));
        }
        _ => {}
    }
}

/// The exit code that tells how a task ended.
fn code_of(task: &TaskView) -> u8 {
    let is_late = task.error.as_ref().is_some_and(|error| error.code == "timed_out");
    let exit = result_of(task).map(|result| result.exit);
    let code = match exit {
        _ if task.state == TaskState::Cancelled => return INTERRUPTED,
        _ if is_late => return TIMED_OUT,
        Some(Exit::Code(code)) => u8::try_from(code).ok(),
        Some(Exit::Signal(signal)) => u8::try_from(128 + signal).ok(),
        None if task.state == TaskState::Succeeded => Some(OK),
        None => None,
    };
    match code {
        Some(OK) if task.state != TaskState::Succeeded => NOT_THE_COMMAND,
        code => code.unwrap_or(NOT_THE_COMMAND),
    }
}

/// The result of a command, where there is one.
pub(super) fn result_of(task: &TaskView) -> Option<CommandResult> {
    let result = task.result.as_ref().filter(|_| task.kind == Kind::Command)?;
    serde_json::from_str(result.get()).ok()
}

fn read(path: &Path) -> Result<Stdin, Failure> {
    let failed = |source| Failure::Read { name: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let limited = MOST_BYTES as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limited).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(limited).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() > MOST_BYTES {
        return Err(Failure::Usage(format!("{} is larger than 1 MiB; {ELSEWHERE}", path.display())));
    }
    Ok(Stdin(bytes))
}
