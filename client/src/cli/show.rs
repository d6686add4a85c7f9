//! `clb show`: all that is known of a task.

use clb_client::Client;
use clb_client::protocol::api::{AttemptView, TaskView};

use super::grid::{print_table, table};
use super::output::{Printer, document, safe, say, span, what, word};
use super::task_name::TaskName;
use crate::failure::{Done, Failure, OK};

/// Which task.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowOptions {
    /// The task id, or its beginning or end
    #[arg(value_name = "ID")]
    id: TaskName,
}

/// Prints it.
pub(super) async fn run(options: &ShowOptions, client: &Client, printer: Printer) -> Done {
    let task = client.task(options.id.find(client).await?).await?;
    if printer.is_json {
        document(&task)?;
    } else {
        print(&task)?;
    }
    Ok(OK)
}

fn print(task: &TaskView) -> Result<(), Failure> {
    let labels: Vec<String> = task.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let time = |at: Option<clb_client::protocol::Timestamp>| at.map(|at| at.to_string());
    let progress = task.progress.as_ref().map(|progress| {
        format!("{:.0} % {}", progress.fraction * 100.0, progress.note.as_deref().unwrap_or_default())
    });
    let fields = [
        ("id", Some(task.id.to_string())),
        ("what", Some(what(task))),
        ("state", Some(task.state.as_str().to_owned())),
        ("pool", Some(task.pool.to_string())),
        ("group", task.group.clone()),
        ("labels", (!labels.is_empty()).then(|| labels.join(" "))),
        ("priority", Some(task.priority.to_string())),
        ("replay of", task.replay_of.map(|id| id.to_string())),
        ("replayed by", task.replayed_by.map(|id| id.to_string())),
        ("not before", time(task.not_before)),
        ("submitted", time(Some(task.submitted_at))),
        ("started", time(task.started_at)),
        ("finished", time(task.finished_at)),
        ("worker", task.worker.clone()),
        ("progress", progress),
        ("error", task.error.as_ref().map(|error| format!("{} ({})", error.message, error.code))),
        ("result", task.result.as_ref().map(|result| result.get().to_owned())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            say(format!("{name:<11}  {}", safe(&value)).trim_end())?;
        }
    }
    if task.attempts.is_empty() {
        return Ok(());
    }
    say("")?;
    let mut table = table(["ATTEMPT", "WORKER", "STARTED", "TOOK", "VERDICT"]);
    for attempt in &task.attempts {
        table.add_row(vec![
            attempt.attempt.to_string(),
            safe(&attempt.worker),
            attempt.started_at.to_string(),
            attempt.ended_at.map_or_else(|| "-".to_owned(), |ended| span(ended.since(attempt.started_at))),
            verdict(attempt),
        ]);
    }
    print_table(table)
}

fn verdict(attempt: &AttemptView) -> String {
    attempt.verdict.as_ref().map_or_else(
        || "runs".to_owned(),
        |verdict| safe(&format!("{}: {}", word(&verdict.kind), verdict.detail)),
    )
}
