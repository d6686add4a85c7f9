//! `clb cluster`: who leads, who stands by, and how many tasks stand where.

use clb_client::Client;

use super::grid::{print_table, table};
use super::output::{Printer, ago, document, safe, say, state_cell, word};
use crate::failure::{Done, OK};

/// Prints it.
pub(super) async fn run(client: &Client, printer: Printer) -> Done {
    let cluster = client.cluster().await?;
    if printer.is_json {
        document(&cluster)?;
        return Ok(OK);
    }
    let (name, leader) = (safe(&cluster.cluster), safe(cluster.leader.as_str()));
    say(format!("{name}: {leader} leads in term {}, version {}", cluster.epoch, safe(&cluster.version)))?;
    let tasks = cluster.tasks;
    say(format!(
        "tasks: {} queued, {} running, {} succeeded, {} failed, {} cancelled\n",
        tasks.queued, tasks.running, tasks.succeeded, tasks.failed, tasks.cancelled
    ))?;
    let mut table = table(["ORCHESTRATOR", "ROLE", "SINCE", "URL"]);
    for member in &cluster.members {
        table.add_row(vec![
            safe(member.name.as_str()).into(),
            state_cell(&word(&member.role)),
            ago(member.since).into(),
            safe(&member.url).into(),
        ]);
    }
    print_table(table)?;
    Ok(OK)
}
