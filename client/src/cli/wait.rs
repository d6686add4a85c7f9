//! `clb wait`: until tasks have ended.

use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::{OutcomeSeq, TaskId};
use clb_client::{Client, TaskFilter};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;

use super::interrupt::interruptible;
use super::output::{Printer, document, json_line, say};
use super::progress::Progress;
use super::submit::until_ended;
use super::task_name::{TaskName, find_all};
use super::values::parse_span;
use super::{absent, completion};
use crate::failure::{Done, Failure, OK, TASK_FAILED};

/// How often a person sees anew how far a task is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which tasks, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitOptions {
    /// Task ids, or the beginning or end of each
    #[arg(value_name = "ID", required_unless_present = "group")]
    ids: Vec<TaskName>,
    /// Wait for all tasks of this group
    #[arg(long, value_name = "TEXT", conflicts_with = "ids", add = completion::group())]
    group: Option<String>,
    /// Stop at the first task that ends, and print it; the exit code is 1 if it failed
    #[arg(long)]
    any: bool,
    /// Give up after this long, with exit code 124
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
            Some(group) if options.any => for_any_in(group, client, printer).await,
            None if options.any => for_any(&find_all(&options.ids, client).await?, client, printer).await,
            Some(group) => for_group(group, client, printer).await,
            None => for_each(&find_all(&options.ids, client).await?, client, printer).await,
        }
    };
    let limited = async {
        let late = |_| Failure::TimedOut("timed out; the tasks that have not ended keep running".to_owned());
        tokio::time::timeout(limit, waiting).await.map_err(late)?
    };
    interruptible(limited, || "the tasks keep running; repeat the command to wait again".to_owned()).await
}

async fn for_any(ids: &[TaskId], client: &Client, printer: Printer) -> Done {
    let progress = Progress::of_waiting();
    progress.say("waiting for the first task to end");
    let mut open: FuturesUnordered<_> = ids.iter().map(|id| until_ended(client, *id)).collect();
    let first = open.next().await.transpose()?;
    progress.finish();
    first.map_or(Ok(OK), |task| tell(&task, printer))
}

async fn for_any_in(group: &str, client: &Client, printer: Printer) -> Done {
    absent::check_group(group, client).await?;
    let progress = Progress::of_waiting();
    progress.say(&format!("waiting for the first task of {group} to end"));
    let mut outcomes = pin!(client.group_outcomes(group, OutcomeSeq(0)));
    let mut first = outcomes.next().await.transpose()?;
    // A replay stands for what it replays.
    while first.as_ref().is_some_and(|outcome| outcome.task.replayed_by.is_some()) {
        first = outcomes.next().await.transpose()?;
    }
    progress.finish();
    first.map_or(Ok(OK), |outcome| tell(&outcome.task, printer))
}

/// Prints how a task ended.
fn tell(task: &TaskView, printer: Printer) -> Done {
    if printer.is_json {
        json_line(task)?;
    } else {
        say(format!("{} {}", task.id, task.state.as_str()))?;
    }
    Ok(if task.state == TaskState::Succeeded { OK } else { TASK_FAILED })
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
    let mut is_open = client.open_in_group(group).await?;
    let (has_failed, has_cancelled) = loop {
        // Lists begin with the newest task, which mostly ends last: few questions are asked.
        while let Some(open_one) = is_open {
            until_ended_in_sight(client, open_one.id).await?;
            is_open = client.open_in_group(group).await?;
        }
        let has_failed = has_any(client, group, TaskState::Failed).await?;
        let has_cancelled = has_any(client, group, TaskState::Cancelled).await?;
        // What failed is left out once its replay has begun, and that is waited for like everything else.
        is_open = client.open_in_group(group).await?;
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
        return format!("{} is waiting", task.id);
    };
    let progress = task.progress.as_ref().map_or(String::new(), |progress| {
        let note = progress.note.as_deref().unwrap_or_default();
        format!(", {:.0} % {note}", progress.fraction * 100.0)
    });
    format!("{} is running on {worker}{progress}", task.id)
}

/// Whether a task of the group stands there for itself, without a replay that stands for it.
async fn has_any(client: &Client, group: &str, state: TaskState) -> Result<bool, Failure> {
    let filter = TaskFilter {
        state: Some(state),
        is_replayed: Some(false),
        group: Some(group.to_owned()),
        limit: Some(1),
        ..TaskFilter::default()
    };
    Ok(client.first(filter).await?.is_some())
}
