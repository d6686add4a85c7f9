//! `clb explain`: why a task waits, or why it ran where it ran.

use clb_client::Client;
use clb_client::protocol::api::Explanation;

use super::grid::{print_table, table};
use super::output::{Printer, document, safe, say, state_cell, word};
use super::task_name::TaskName;
use crate::failure::{Done, Failure, OK};

/// Which task.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainOptions {
    /// The task id, or its beginning or end
    #[arg(value_name = "ID")]
    id: TaskName,
}

/// Prints it.
pub(super) async fn run(options: &ExplainOptions, client: &Client, printer: Printer) -> Done {
    let explanation = client.explain(options.id.find(client).await?).await?;
    if printer.is_json {
        document(&explanation)?;
    } else {
        print(&explanation)?;
    }
    Ok(OK)
}

fn print(explanation: &Explanation) -> Result<(), Failure> {
    match &explanation.waiting {
        Some(waiting) => {
            let until = waiting.until.map(|at| format!(", until {at}")).unwrap_or_default();
            say(safe(&format!("{} ({}{until})", waiting.detail, word(&waiting.reason))))?;
        }
        None => say(safe(&explanation.summary))?,
    }
    if let Some(placement) = &explanation.placement {
        let (attempt, policy) = (placement.attempt, word(&placement.policy));
        say(format!(
            "attempt {attempt} went to {} by {policy} at {}",
            safe(&placement.worker),
            placement.at
        ))?;
    }
    if explanation.candidates.is_empty() {
        return Ok(());
    }
    say("")?;
    let mut table = table(["WORKER", "STATE", "FREE", "SCORE", "REASON"]);
    for candidate in &explanation.candidates {
        table.add_row(vec![
            safe(&candidate.worker).into(),
            state_cell(&word(&candidate.state)),
            format!("{}/{}", candidate.free_slots, candidate.slots).into(),
            candidate.score.map_or_else(|| "-".to_owned(), |score| score.to_string()).into(),
            safe(&candidate.reason).into(),
        ]);
    }
    print_table(table)
}
