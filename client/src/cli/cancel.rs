//! `clb cancel` and `clb retry`: something that is done to tasks by their ids, or to all that fit.

mod preview;

use clb_client::protocol::TaskId;
use clb_client::protocol::api::{TaskSelection, TaskView};
use clb_client::protocol::task::{Argv, Changes};
use clb_client::{Client, Error};

use super::completion;
use super::filters::Filters;
use super::output::{Printer, document, json_line, remark, say};
use super::progress::Progress;
use super::task_name::{TaskName, find_all};
use super::values::parse_seconds;
use crate::failure::{Done, Failure, OK, REFUSED};

/// Which tasks.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "state", "pool", "group", "labels"]))]
pub(crate) struct ChooseOptions {
    /// Task ids, or the beginning or end of each
    #[arg(value_name = "ID", conflicts_with_all = ["state", "pool", "group", "labels"])]
    pub(super) ids: Vec<TaskName>,
    /// Only list the tasks that would be affected
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) filters: Filters,
}

/// Which ended tasks, and what is to be done otherwise this time.
#[derive(Debug, clap::Args)]
pub(crate) struct RetryOptions {
    #[command(flatten)]
    choose: ChooseOptions,
    #[command(flatten)]
    changes: ChangeOptions,
}

/// See [`Changes`].
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Changes")]
struct ChangeOptions {
    /// Run it in another pool
    #[arg(long, value_name = "POOL", add = completion::pool())]
    to_pool: Option<String>,
    /// Time limit for one attempt, in seconds or like 1h30m
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    timeout: Option<f64>,
    /// Maximum number of attempts
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Run another command, with the same environment and input
    #[arg(last = true, value_name = "COMMAND", value_hint = completion::WORD)]
    command: Vec<String>,
}

impl ChangeOptions {
    fn changes(&self) -> Changes {
        Changes {
            pool: self.to_pool.clone(),
            timeout: self.timeout,
            max_attempts: self.max_attempts.map(i64::from),
            command: Argv::try_from(self.command.clone()).ok(),
        }
    }
}

/// Cancels them.
pub(super) async fn cancel(options: ChooseOptions, client: &Client, printer: Printer) -> Done {
    if options.dry_run {
        return preview::cancel(&options, client, printer).await;
    }
    if options.ids.is_empty() {
        let which: TaskSelection = options.filters.selection();
        let done = Progress::during("cancelling the matching tasks", client.cancel_many(&which)).await?;
        if done.cancelled == 0 {
            options.filters.check_names(client).await?;
        }
        if printer.is_json {
            document(&done)?;
        } else {
            say(format!("{} cancelled", done.cancelled))?;
        }
        return Ok(OK);
    }
    each(&find_all(&options.ids, client).await?, printer, async |id| client.cancel(id).await).await
}

/// Replays them.
pub(super) async fn retry(options: RetryOptions, client: &Client, printer: Printer) -> Done {
    let RetryOptions { choose, changes } = options;
    let changes = changes.changes();
    if choose.dry_run {
        return preview::retry(&choose, &changes, client, printer).await;
    }
    if choose.ids.is_empty() {
        return retry_all(&choose.filters, &changes, client, printer).await;
    }
    let ids = find_all(&choose.ids, client).await?;
    each(&ids, printer, async |id| client.replay_with(id, &changes).await).await
}

async fn retry_all(filters: &Filters, changes: &Changes, client: &Client, printer: Printer) -> Done {
    let which = filters.selection();
    let done = Progress::during("replaying the matching tasks", client.replay_many(&which, changes)).await?;
    if done.replayed + done.known + done.refused == 0 {
        filters.check_names(client).await?;
    }
    if printer.is_json {
        document(&done)?;
    } else {
        say(format!("{} new tasks, {} already replayed", done.replayed, done.known))?;
    }
    if done.refused > 0 {
        let not_commands = if changes.command.is_some() { ", or they are not commands" } else { "" };
        remark(format!(
            "{} more were refused: the queue was full or their pool is gone{not_commands}; repeat the command later to \
             replay them too",
            done.refused
        ));
        return Ok(REFUSED);
    }
    Ok(OK)
}

/// Goes on after one that is refused, and fails with the first refusal.
async fn each(
    ids: &[TaskId],
    printer: Printer,
    act: impl AsyncFn(TaskId) -> Result<TaskView, Error>,
) -> Done {
    let mut code = OK;
    for id in ids {
        match act(*id).await {
            Ok(task) if printer.is_json => json_line(&task)?,
            Ok(task) => say(format!("{} {}", task.id, task.state.as_str()))?,
            Err(error @ Error::Refused { .. }) => {
                let failure = Failure::from(error);
                remark(format!("{id}: {failure}"));
                code = if code == OK { failure.exit_code() } else { code };
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}
