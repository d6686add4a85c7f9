//! `--dry-run`: what would be cancelled or replayed.

use std::collections::HashSet;

use clb_client::Client;
use clb_client::protocol::TaskId;
use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::task::{Changes, FieldError, Kind};

use super::super::asked::{CHANGED_POOL, name_pools};
use super::super::list::Listing;
use super::super::output::{Printer, remark};
use super::super::task_name::find_all;
use super::ChooseOptions;
use crate::failure::{Done, Failure, OK};

const PAGE: u32 = 500;

/// Lists those that have not ended.
pub(super) async fn cancel(options: &ChooseOptions, client: &Client, printer: Printer) -> Done {
    let open = [TaskState::Queued, TaskState::Running];
    let is_open = |task: &TaskView| !task.state.has_ended();
    let states = options.filters.list(PAGE).state.map_or(open.to_vec(), |state| vec![state]);
    preview(options, &states, is_open, "cancelled", client, printer).await
}

/// Lists those that have ended, have no replay and can be changed so.
pub(super) async fn retry(
    options: &ChooseOptions,
    changes: &Changes,
    client: &Client,
    printer: Printer,
) -> Done {
    let state = options.filters.list(PAGE).state.unwrap_or(TaskState::Failed);
    if let Some(pool) = &changes.pool {
        check_pool(pool, client).await?;
    }
    let can_change = |task: &TaskView| changes.command.is_none() || task.kind == Kind::Command;
    let can_be = |task: &TaskView| task.state.has_ended() && task.replayed_by.is_none() && can_change(task);
    preview(options, &[state], can_be, "replayed", client, printer).await
}

async fn check_pool(name: &str, client: &Client) -> Result<(), Failure> {
    if client.pools().await?.iter().any(|pool| pool.name.as_str() == name) {
        return Ok(());
    }
    let mut errors = vec![FieldError::at(CHANGED_POOL, "there is no such pool")];
    name_pools(client, name, &mut errors).await;
    Err(Failure::Asked(errors))
}

async fn preview(
    options: &ChooseOptions,
    states: &[TaskState],
    is_meant: impl Fn(&TaskView) -> bool,
    done: &str,
    client: &Client,
    printer: Printer,
) -> Done {
    let mut listing = Listing::new(printer);
    if options.ids.is_empty() {
        // One that begins to run meanwhile is in both lists.
        let mut seen = HashSet::new();
        for state in states {
            all(options, *state, &mut seen, &is_meant, client, &mut listing).await?;
        }
        if listing.count == 0 {
            options.filters.check_names(client).await?;
        }
    }
    for id in find_all(&options.ids, client).await? {
        let task = client.task(id).await?;
        match (is_meant(&task), task.replayed_by) {
            (true, _) => listing.print(&[task])?,
            (false, Some(replay)) => remark(format!("{id} was already replayed as {replay}")),
            (false, None) => remark(format!("{id} is a {} {}", task.state.as_str(), task.kind.as_str())),
        }
    }
    let count = listing.count;
    listing.finish()?;
    let tasks = if count == 1 { "task" } else { "tasks" };
    remark(format!("{count} {tasks} would be {done}; nothing was changed"));
    Ok(OK)
}

async fn all(
    options: &ChooseOptions,
    state: TaskState,
    seen: &mut HashSet<TaskId>,
    is_meant: impl Fn(&TaskView) -> bool,
    client: &Client,
    listing: &mut Listing,
) -> Result<(), Failure> {
    let mut filter = options.filters.list(PAGE);
    filter.state = Some(state);
    filter.is_replayed = Some(false);
    loop {
        let mut page = client.tasks(&filter).await?;
        page.tasks.retain(|task| is_meant(task) && seen.insert(task.id));
        listing.print(&page.tasks)?;
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(()),
        }
    }
}
