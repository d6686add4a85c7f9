//! `clb batch`: the tasks of a file, one JSON object a line.

mod load;
pub(super) mod names;
mod waiting;

use std::path::PathBuf;

use clb_client::Client;
use serde::Serialize;

use super::completion;
use super::interrupt::interruptible;
use super::lines;
use super::output::{Printer, document, remark, say};
use super::progress::Progress;
use super::task_options::made_up_group;
use crate::failure::{Done, OK, TASK_FAILED};
use load::Load;
use waiting::Waiting;

/// What is submitted, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct BatchOptions {
    /// The file, one task per line as in the HTTP API; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Group for tasks that name none. Ids that are not given are derived from it: the same line at the same
    /// position in the same group is the same task, so repeating a batch submits only what is missing. Default:
    /// derived from the content of the file, or generated for standard input; it is printed
    #[arg(long, value_name = "TEXT", add = completion::group())]
    group: Option<String>,
    /// Pool for tasks that name none
    #[arg(long, value_name = "POOL", add = completion::pool())]
    pool: Option<String>,
    /// Wait for all of them to end; the exit code is 1 if any failed
    #[arg(long)]
    wait: bool,
    /// Continue after a line that is refused
    #[arg(long)]
    keep_going: bool,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    group: String,
    accepted: u64,
    known: u64,
    refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// How the tasks ended.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Ended {
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    /// Of all of them, those that wrote more than is kept.
    incomplete: u64,
}

/// Submits all of them.
pub(super) async fn run(options: BatchOptions, client: &Client, printer: Printer) -> Done {
    let known = match &options.group {
        Some(group) => Some(group.clone()),
        None => names::group_of(&options.file)?,
    };
    let group = known.unwrap_or_else(|| {
        let group = made_up_group("batch");
        remark(format!(
            "the group is {group}; repeat with --group {group} to continue after an interruption"
        ));
        group
    });
    let (mut chunks, size) = lines::of(&options.file, b'\n')?;
    let progress = Progress::of_submission(size);
    let waiting = options.wait.then(Waiting::default);
    let mut load = Load::new(client, &progress, &group, &options, waiting);
    let hint =
        || format!("the submitted tasks keep running; wait for them with `clb wait --group '{group}'`");
    let submitted = interruptible(load.submit_all(&mut chunks), hint).await;
    progress.finish();
    let Load { mut summary, waiting, code, .. } = load;
    summary.group.clone_from(&group);
    if let Err(failure) = submitted {
        remark(format!(
            "{} tasks of group {group} were submitted before that; repeat with --group '{group}' to continue, nothing \
             is submitted twice",
            summary.accepted + summary.known
        ));
        return Err(failure);
    }
    if !printer.is_json {
        say(&group)?;
    }
    remark(format!(
        "{} submitted, {} already known, {} refused",
        summary.accepted, summary.known, summary.refused
    ));
    let mut code = code.unwrap_or(OK);
    if let Some(waiting) = waiting {
        let ended = interruptible(Box::pin(waiting.until_ended(client)), hint).await?;
        remark(format!(
            "{} succeeded, {} failed, {} cancelled",
            ended.succeeded, ended.failed, ended.cancelled
        ));
        if ended.incomplete > 0 {
            remark(format!(
                "{} of them wrote more output than is kept; `clb results --group '{group}' --csv` shows how much is missing",
                ended.incomplete
            ));
        }
        if ended.failed + ended.cancelled > 0 {
            remark(format!("see `clb list --group '{group}' --state failed`"));
            code = TASK_FAILED;
        }
        summary.ended = Some(ended);
    }
    if printer.is_json {
        document(&summary)?;
    }
    Ok(code)
}
