//! `clb logs`: what a command writes, or the log lines that speak of a task of another kind.

mod several;

use std::cell::Cell;
use std::time::Duration;

use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::Kind;
use clb_client::protocol::{LogSeq, TaskId};
use clb_client::{Client, OutputStream};

use super::filters::Filters;
use super::gaps;
use super::held_up::told;
use super::interrupt::interruptible;
use super::live::{self, Gaps};
use super::output::{Printer, json_line, safe, say};
use super::task_name::{TaskName, find_all};
use crate::failure::{Done, Failure, NOT_THE_COMMAND, OK};

/// How long to wait for further log lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Which tasks, what of them, and whether to go on.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["names", "state", "pool", "group", "labels"]))]
pub(crate) struct LogsOptions {
    /// Task ids, or the beginning or end of each. With several tasks, a header line before each output names its task.
    /// With --json the log lines about the task are printed, for commands too; the output of a command is in the
    /// `result` of `clb show --json`
    #[arg(value_name = "ID", conflicts_with_all = ["state", "pool", "group", "labels"])]
    names: Vec<TaskName>,
    /// Follow the output until the task has ended
    #[arg(long, short = 'f', conflicts_with_all = ["stdout", "stderr", "state", "pool", "group", "labels"])]
    follow: bool,
    /// Only standard output
    #[arg(long)]
    stdout: bool,
    /// Only standard error, printed to standard output
    #[arg(long, conflicts_with = "stdout")]
    stderr: bool,
    #[command(flatten)]
    filters: Filters,
}

impl LogsOptions {
    fn stream(&self) -> Option<OutputStream> {
        match (self.stdout, self.stderr) {
            (true, _) => Some(OutputStream::Stdout),
            (_, true) => Some(OutputStream::Stderr),
            _ => None,
        }
    }
}

/// Prints them.
pub(super) async fn run(options: &LogsOptions, client: &Client, printer: Printer) -> Done {
    let stream = options.stream();
    let ids = find_all(&options.names, client).await?;
    match ids[..] {
        [id] if stream.is_none() => of_one(id, options.follow, client, printer).await,
        [_] if printer.is_json => Err(Failure::Usage(
            "--json prints log lines and cannot be combined with --stdout or --stderr".to_owned(),
        )),
        _ if printer.is_json => Err(Failure::Usage(
            "--json takes a single task; `clb list --json` has the outputs of many".to_owned(),
        )),
        _ if options.follow => Err(Failure::Usage("--follow takes a single task".to_owned())),
        [id] => {
            let has_gap = several::print_stream(client, &client.task(id).await?, stream).await?;
            Ok(gaps::code_of(u64::from(has_gap)))
        }
        [] => several::of_all(&options.filters, stream, client).await,
        _ => several::of_these(&ids, stream, client).await,
    }
}

async fn of_one(id: TaskId, follow: bool, client: &Client, printer: Printer) -> Done {
    let task = client.task(id).await?;
    let printing = async {
        match (task.kind, follow) {
            (Kind::Command, true) if !printer.is_json => {
                let following = Box::pin(live::follow(client, task, Gaps::Marked));
                let followed = told(client, &Cell::new(Some(id)), None, following).await?;
                Ok(followed.is_incomplete)
            }
            (Kind::Command, false) if !printer.is_json => live::print(client, &task).await,
            _ => lines(task, follow, client, printer).await.map(|()| false),
        }
    };
    let hint = || format!("the task keeps running; follow it again with `clb logs -f {id}`");
    let is_incomplete = interruptible(printing, hint).await?;
    Ok(if is_incomplete { NOT_THE_COMMAND } else { OK })
}

async fn lines(task: TaskView, follow: bool, client: &Client, printer: Printer) -> Result<(), Failure> {
    let mut after = LogSeq(0);
    let mut task = task;
    loop {
        let page = client.task_logs(task.id, after).await?;
        let is_empty = page.next == after;
        after = page.next;
        for line in page.logs {
            if printer.is_json {
                json_line(&line)?;
            } else {
                say(format!("{}  {}  {}", line.at, safe(&line.container), safe(&line.message)))?;
            }
        }
        if is_empty {
            if !follow || task.state.has_ended() {
                return Ok(());
            }
            task = client.wait(task.id, PAUSE).await?;
        }
    }
}
