//! `clb list`: tasks, newest first.

use clb_client::Client;
use clb_client::protocol::api::TaskView;
use comfy_table::Table;

use super::filters::Filters;
use super::grid::{Grid, table};
use super::output::{Printer, ago, or_dash, remark, safe, say, span, state_cell, what, write};
use super::reason::reason;
use crate::failure::{Done, Failure, OK};

const PAGE: u32 = 500;

/// Which tasks, and how many.
#[derive(Debug, clap::Args)]
pub(crate) struct ListOptions {
    /// Maximum number of tasks
    #[arg(long, short = 'n', value_name = "N", default_value = "50")]
    limit: u64,
    /// List all tasks
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Include tasks that were replayed; by default only their newest replay is listed
    #[arg(long)]
    replayed: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Prints them, a page at a time.
pub(super) async fn run(options: ListOptions, client: &Client, printer: Printer) -> Done {
    let mut left = if options.all { u64::MAX } else { options.limit };
    let mut filter = options.filters.list(PAGE);
    filter.is_replayed = (!options.replayed).then_some(false);
    let mut listing = Listing::new(printer);
    loop {
        filter.limit = Some(left.clamp(1, u64::from(PAGE)) as u32);
        let mut page = client.tasks(&filter).await?;
        page.tasks.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.tasks.len() as u64;
        listing.print(&page.tasks)?;
        match page.next {
            Some(next) if left > 0 => filter.cursor = Some(next),
            next => {
                if listing.count == 0 {
                    options.filters.check_names(client).await?;
                }
                if !printer.is_json && next.is_some() {
                    remark("there are more; see --limit and --all");
                }
                return listing.finish().map(|()| OK);
            }
        }
    }
}

/// A list that comes in pieces: a table for people, one array for programs.
pub(super) struct Listing {
    printer: Printer,
    grid: Grid,
    pub(super) count: u64,
}

impl Listing {
    pub(super) fn new(printer: Printer) -> Self {
        Self { printer, grid: Grid::default(), count: 0 }
    }

    pub(super) fn print(&mut self, tasks: &[TaskView]) -> Result<(), Failure> {
        if tasks.is_empty() {
            return Ok(());
        }
        if self.printer.is_json {
            print_json(tasks, self.count == 0)?;
        } else {
            self.grid.print(rows(tasks))?;
        }
        self.count += tasks.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match (self.printer.is_json, self.count) {
            (true, 0) => say("[]"),
            (true, _) => say("]"),
            (false, 0) => self.grid.print(rows(&[])),
            (false, _) => Ok(()),
        }
    }
}

/// The items of one array over all pages.
fn print_json(tasks: &[TaskView], is_first: bool) -> Result<(), Failure> {
    let mut text = Vec::new();
    for (place, task) in tasks.iter().enumerate() {
        text.extend_from_slice(if is_first && place == 0 { b"[" } else { b",\n" });
        serde_json::to_writer(&mut text, task).map_err(std::io::Error::from)?;
    }
    write(&text)
}

fn rows(tasks: &[TaskView]) -> Table {
    let mut table = table(["ID", "STATE", "POOL", "GROUP", "WORKER", "AGE", "TOOK", "WHAT", "REASON"]);
    for task in tasks {
        table.add_row(vec![
            task.id.to_string().into(),
            state_cell(task.state.as_str()),
            safe(task.pool.as_str()).into(),
            or_dash(task.group.as_deref()).into(),
            or_dash(task.worker.as_deref()).into(),
            ago(task.submitted_at).into(),
            match (task.started_at, task.finished_at) {
                (Some(from), Some(until)) => span(until.since(from)),
                (Some(from), None) => ago(from),
                _ => "-".to_owned(),
            }
            .into(),
            what(task).into(),
            reason(task).unwrap_or_default().into(),
        ]);
    }
    table
}
