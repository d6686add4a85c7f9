//! `clb wait`: until tasks have ended.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::{OutcomeSeq, TaskId};
use clb_client::{Client, TaskFilter};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;

use super::held_up::told;
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

/// One who waits: what is shown meanwhile, and one of the tasks, of which is told what holds it up.
struct Waiter<'a> {
    client: &'a Client,
    printer: Printer,
    progress: &'a Progress,
    watched: &'a Cell<Option<TaskId>>,
}

/// Waits.
pub(super) async fn run(options: WaitOptions, client: &Client, printer: Printer) -> Done {
    let limit = options.timeout.unwrap_or(Duration::MAX);
    let (progress, watched) = (Progress::of_waiting(), Cell::new(None));
    let waiter = Waiter { client, printer, progress: &progress, watched: &watched };
    let waiting = Box::pin(told(client, &watched, Some(&progress), waiter.wait(&options)));
    let limited = async {
        let late = |_| Failure::TimedOut("timed out; the tasks that have not ended keep running".to_owned());
        tokio::time::timeout(limit, waiting).await.map_err(late)?
    };
    let done =
        interruptible(limited, || "the tasks keep running; repeat the command to wait again".to_owned())
            .await;
    progress.finish();
    done
}

impl Waiter<'_> {
    async fn wait(&self, options: &WaitOptions) -> Done {
        match &options.group {
            Some(group) if options.any => self.for_any_in(group).await,
            None if options.any => self.for_any(&find_all(&options.ids, self.client).await?).await,
            Some(group) => self.for_group(group).await,
            None => self.for_each(&find_all(&options.ids, self.client).await?).await,
        }
    }

    async fn for_any(&self, ids: &[TaskId]) -> Done {
        self.progress.say("waiting for the first task to end");
        self.watched.set(ids.first().copied());
        let mut open: FuturesUnordered<_> = ids.iter().map(|id| until_ended(self.client, *id)).collect();
        let first = open.next().await.transpose()?;
        first.map_or(Ok(OK), |task| self.tell_end(&task))
    }

    async fn for_any_in(&self, group: &str) -> Done {
        absent::check_group(group, self.client).await?;
        self.progress.say(&format!("waiting for the first task of {group} to end"));
        self.watched.set(self.client.open_in_group(group).await?.map(|task| task.id));
        let mut outcomes = pin!(self.client.group_outcomes(group, OutcomeSeq(0)));
        let mut first = outcomes.next().await.transpose()?;
        // A replay stands for what it replays.
        while first.as_ref().is_some_and(|outcome| outcome.task.replayed_by.is_some()) {
            first = outcomes.next().await.transpose()?;
        }
        first.map_or(Ok(OK), |outcome| self.tell_end(&outcome.task))
    }

    async fn for_each(&self, ids: &[TaskId]) -> Done {
        let mut code = OK;
        for id in ids {
            let task = self.until_ended_in_sight(*id).await?;
            let told = self.tell_end(&task)?;
            code = if code == OK { told } else { code };
        }
        Ok(code)
    }

    async fn for_group(&self, group: &str) -> Done {
        let client = self.client;
        absent::check_group(group, client).await?;
        let mut is_open = client.open_in_group(group).await?;
        let (has_failed, has_cancelled) = loop {
            // Lists begin with the newest task, which mostly ends last: few questions are asked.
            while let Some(open_one) = is_open {
                self.until_ended_in_sight(open_one.id).await?;
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
        self.progress.suspended(|| {
            if self.printer.is_json {
                return document(&GroupEnded { group, has_failed, has_cancelled });
            }
            say(match (has_failed, has_cancelled) {
                (false, false) => format!("all tasks of {group} succeeded"),
                (true, _) => format!(
                    "all tasks of {group} have ended, some failed: clb list --group '{group}' --state failed"
                ),
                (false, true) => format!("all tasks of {group} have ended, some were cancelled"),
            })
        })?;
        Ok(if has_failed || has_cancelled { TASK_FAILED } else { OK })
    }

    /// Prints how a task ended.
    fn tell_end(&self, task: &TaskView) -> Done {
        self.progress.suspended(|| {
            if self.printer.is_json {
                return json_line(task);
            }
            say(format!("{} {}", task.id, task.state.as_str()))
        })?;
        Ok(if task.state == TaskState::Succeeded { OK } else { TASK_FAILED })
    }

    /// Waits for as long as it takes, and shows meanwhile how far the task is.
    async fn until_ended_in_sight(&self, id: TaskId) -> Result<TaskView, Failure> {
        self.watched.set(Some(id));
        if self.progress.is_hidden() {
            return until_ended(self.client, id).await;
        }
        let mut task = self.client.task(id).await?;
        while !task.state.has_ended() {
            self.progress.say(&standing_of(&task));
            task = self.client.wait(id, LOOK_EVERY).await?;
        }
        Ok(task)
    }
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
