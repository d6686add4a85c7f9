//! `clb logs`: what a command writes, or the log lines that speak of a task of another kind.

use std::cell::Cell;
use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::Kind;
use clb_client::protocol::{LogSeq, TaskId};

use super::held_up::told;
use super::interrupt::interruptible;
use super::live::{self, Gaps};
use super::output::{Printer, json_line, safe, say};
use crate::failure::{Done, Failure, NOT_THE_COMMAND, OK};

/// How long to wait for further log lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Which task, and whether to go on.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsOptions {
    /// The task. With --json come the log lines that speak of it, of a command too: what a command wrote is in the
    /// `result` of `clb show --json`
    #[arg(value_name = "ID")]
    id: TaskId,
    /// Go on until the task has ended
    #[arg(long, short = 'f')]
    follow: bool,
}

/// Prints them.
pub(super) async fn run(options: &LogsOptions, client: &Client, printer: Printer) -> Done {
    let task = client.task(options.id).await?;
    let id = options.id;
    let printing = async {
        match (task.kind, options.follow) {
            (Kind::Command, true) if !printer.is_json => {
                let following = Box::pin(live::follow(client, task, Gaps::Marked));
                let followed = told(client, &Cell::new(Some(id)), None, following).await?;
                Ok(followed.is_incomplete)
            }
            (Kind::Command, false) if !printer.is_json => live::print(client, &task).await,
            _ => lines(task, options.follow, client, printer).await.map(|()| false),
        }
    };
    let hint = || format!("the task goes on; come back with `clb logs -f {id}`");
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
