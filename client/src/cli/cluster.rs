//! `clb cluster`: who leads, who stands by, and how many tasks stand where.

use clb_client::Client;

use super::output::{Printer, ago, document, plain, print_table, say, state_cell, table, word};
use crate::failure::{Done, OK};

/// Prints it.
pub(super) async fn run(client: &Client, printer: Printer) -> Done {
    let cluster = client.cluster().await?;
    if printer.is_json {
        document(&cluster)?;
        return Ok(OK);
    }
    let (name, leader) = (plain(&cluster.cluster), plain(cluster.leader.as_str()));
    say(format!("{name}: {leader} leads in term {}, version {}", cluster.epoch, plain(&cluster.version)))?;
    let tasks = cluster.tasks;
    say(format!(
        "tasks: {} queued, {} running, {} succeeded, {} failed, {} cancelled\n",
        tasks.queued, tasks.running, tasks.succeeded, tasks.failed, tasks.cancelled
    ))?;
    let mut table = table(["ORCHESTRATOR", "ROLE", "SINCE", "URL"]);
    for member in &cluster.members {
        table.add_row(vec![
            plain(member.name.as_str()).into(),
            state_cell(&word(&member.role)),
            ago(member.since).into(),
            plain(&member.url).into(),
        ]);
    }
    print_table(table)?;
    Ok(OK)
}
