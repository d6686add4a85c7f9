//! `clb workers`, and what is ordered of one of them.

use clb_client::Client;
use clb_client::protocol::api::WorkerView;

use super::completion;
use super::grid::{print_table, table};
use super::output::{Printer, ago, document, memory, safe, state_cell, word};
use crate::failure::{Done, Failure, OK};

/// Which worker.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerName {
    /// The worker, as listed by `clb workers`
    #[arg(value_name = "WORKER", add = completion::worker())]
    pub(super) name: String,
}

/// Prints all of them.
pub(super) async fn list(client: &Client, printer: Printer) -> Done {
    let workers = client.workers().await?;
    if printer.is_json {
        document(&workers)?;
    } else {
        print_all(&workers)?;
    }
    Ok(OK)
}

/// Prints the one of which something was ordered.
pub(super) fn print(worker: &WorkerView, printer: Printer) -> Done {
    if printer.is_json {
        document(worker)?;
    } else {
        print_all(std::slice::from_ref(worker))?;
    }
    Ok(OK)
}

fn print_all(workers: &[WorkerView]) -> Result<(), Failure> {
    let mut table = table(["NAME", "POOL", "STATE", "TASKS", "DONE", "CPU", "MEMORY", "SINCE", "REASON"]);
    for worker in workers {
        let used = worker.memory_bytes.map_or_else(|| "-".to_owned(), memory);
        let limit =
            worker.memory_limit_bytes.map(|limit| format!(" / {}", memory(limit))).unwrap_or_default();
        table.add_row(vec![
            safe(&worker.name).into(),
            safe(worker.pool.as_str()).into(),
            state_cell(&word(&worker.state)),
            format!("{}/{}", worker.running.len(), worker.slots).into(),
            worker.tasks_done.to_string().into(),
            worker.cpu_percent.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1} %")).into(),
            format!("{used}{limit}").into(),
            ago(worker.since).into(),
            safe(worker.reason.as_deref().unwrap_or_default()).into(),
        ]);
    }
    print_table(table)
}
