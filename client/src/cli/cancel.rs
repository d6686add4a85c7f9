//! `clb cancel` and `clb retry`: something that is done to tasks by their ids, or to all that fit.

use clb_client::protocol::TaskId;
use clb_client::protocol::api::{TaskSelection, TaskView};
use clb_client::{Client, Error};

use super::filters::Filters;
use super::output::{Printer, document, json_line, remark, say};
use super::progress::Progress;
use super::task_name::{TaskName, find_all};
use crate::failure::{Done, Failure, OK, REFUSED};

/// Which tasks.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "state", "pool", "group", "labels"]))]
pub(crate) struct ChooseOptions {
    /// The tasks
    #[arg(value_name = "ID", conflicts_with_all = ["state", "pool", "group", "labels"])]
    ids: Vec<TaskName>,
    #[command(flatten)]
    filters: Filters,
}

/// Cancels them.
pub(super) async fn cancel(options: ChooseOptions, client: &Client, printer: Printer) -> Done {
    if options.ids.is_empty() {
        let which: TaskSelection = options.filters.selection();
        let done = Progress::during("Cancels all that fit", client.cancel_many(&which)).await?;
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
pub(super) async fn retry(options: ChooseOptions, client: &Client, printer: Printer) -> Done {
    if options.ids.is_empty() {
        let which = options.filters.selection();
        let done = Progress::during("Replays all that fit", client.replay_many(&which)).await?;
        if done.replayed + done.known + done.refused == 0 {
            options.filters.check_names(client).await?;
        }
        if printer.is_json {
            document(&done)?;
        } else {
            say(format!("{} new tasks, {} replayed before", done.replayed, done.known))?;
        }
        if done.refused > 0 {
            remark(format!(
                "{} more were refused: the queue had no room, or their pool is gone; the same command takes them up once \
                 there is room, or the pool again",
                done.refused
            ));
            return Ok(REFUSED);
        }
        return Ok(OK);
    }
    each(&find_all(&options.ids, client).await?, printer, async |id| client.replay(id).await).await
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
