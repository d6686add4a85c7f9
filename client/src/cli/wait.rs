//! `clb wait`: until tasks have ended.

use std::time::Duration;

use clb_client::protocol::TaskId;
use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::{Client, TaskFilter};
use serde::Serialize;

use super::absent;
use super::interrupt::interruptible;
use super::output::{Printer, document, json_line, say};
use super::progress::Progress;
use super::submit::until_ended;
use super::task_name::{TaskName, find_all};
use super::values::parse_span;
use crate::failure::{Done, Failure, OK, TASK_FAILED};

/// How often a person sees anew how far a task is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which tasks, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitOptions {
    /// The tasks
    #[arg(value_name = "ID", required_unless_present = "group")]
    ids: Vec<TaskName>,
    /// All tasks of this group
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    group: Option<String>,
    /// Give up after so long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
}

#[derive(Serialize)]
struct GroupEnded<'a> {
    group: &'a str,
    has_failed: bool,
    has_cancelled: bool,
}

/// Waits.
pub(super) async fn run(options: WaitOptions, client: &Client, printer: Printer) -> Done {
    let limit = options.timeout.unwrap_or(Duration::MAX);
    let waiting = async {
        match &options.group {
            Some(group) => for_group(group, client, printer).await,
            None => for_each(&find_all(&options.ids, client).await?, client, printer).await,
        }
    };
    let limited = async {
        let late = |_| Failure::TimedOut("not all of them have ended in time; they go on".to_owned());
        tokio::time::timeout(limit, waiting).await.map_err(late)?
    };
    interruptible(limited, || "the tasks go on; the same command waits again".to_owned()).await
}

async fn for_each(ids: &[TaskId], client: &Client, printer: Printer) -> Done {
    let mut code = OK;
    for id in ids {
        let task = until_ended_in_sight(client, *id).await?;
        if task.state != TaskState::Succeeded {
            code = TASK_FAILED;
        }
        if printer.is_json { json_line(&task)? } else { say(format!("{id} {}", task.state.as_str()))? }
    }
    Ok(code)
}

async fn for_group(group: &str, client: &Client, printer: Printer) -> Done {
    absent::check_group(group, client).await?;
    let mut is_open = open(client, group).await?;
    let (has_failed, has_cancelled) = loop {
        // Lists begin with the newest task, which mostly ends last: few questions are asked.
        while let Some(open_one) = is_open {
            until_ended_in_sight(client, open_one.id).await?;
            is_open = open(client, group).await?;
        }
        let has_failed = newest(client, group, Some(TaskState::Failed)).await?.is_some();
        let has_cancelled = newest(client, group, Some(TaskState::Cancelled)).await?.is_some();
        // What failed is left out once its replay has begun, and that is waited for like everything else.
        is_open = open(client, group).await?;
        if is_open.is_none() {
            break (has_failed, has_cancelled);
        }
    };
    if printer.is_json {
        document(&GroupEnded { group, has_failed, has_cancelled })?;
    } else {
        say(match (has_failed, has_cancelled) {
            (false, false) => format!("all tasks of {group} succeeded"),
            (true, _) => format!(
                "all tasks of {group} have ended, some failed: clb list --group '{group}' --state failed"
            ),
            (false, true) => format!("all tasks of {group} have ended, some were cancelled"),
        })?;
    }
    Ok(if has_failed || has_cancelled { TASK_FAILED } else { OK })
}

/// Waits for as long as it takes, and shows meanwhile how far the task is.
async fn until_ended_in_sight(client: &Client, id: TaskId) -> Result<TaskView, Failure> {
    let progress = Progress::of_waiting();
    if progress.is_hidden() {
        return until_ended(client, id).await;
    }
    let mut task = client.task(id).await?;
    while !task.state.has_ended() {
        progress.say(&standing_of(&task));
        task = client.wait(id, LOOK_EVERY).await?;
    }
    progress.finish();
    Ok(task)
}

fn standing_of(task: &TaskView) -> String {
    let Some(worker) = task.worker.as_ref().filter(|_| task.state == TaskState::Running) else {
        return format!("{} waits", task.id);
    };
    let progress = task.progress.as_ref().map_or(String::new(), |progress| {
        let note = progress.note.as_deref().unwrap_or_default();
        format!(", {:.0} % {note}", progress.fraction * 100.0)
    });
    format!("{} runs on {worker}{progress}", task.id)
}

/// A task of the group that has not ended. A task may go back to the queue just between two questions, so each
/// is asked twice.
async fn open(client: &Client, group: &str) -> Result<Option<TaskView>, Failure> {
    for state in [TaskState::Queued, TaskState::Running, TaskState::Queued, TaskState::Running] {
        if let Some(task) = newest(client, group, Some(state)).await? {
            return Ok(Some(task));
        }
    }
    Ok(None)
}

/// The newest task of the group, in that state. Replays stand for what they replay.
async fn newest(client: &Client, group: &str, state: Option<TaskState>) -> Result<Option<TaskView>, Failure> {
    let mut filter = TaskFilter {
        state,
        is_replayed: Some(false),
        group: Some(group.to_owned()),
        limit: Some(1),
        ..TaskFilter::default()
    };
    loop {
        let mut page = client.tasks(&filter).await?;
        match (page.tasks.pop(), page.next) {
            // Behind many tasks of others.
            (None, Some(next)) => filter.cursor = Some(next),
            (newest, _) => return Ok(newest),
        }
    }
}
