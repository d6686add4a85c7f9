//! `clb pool`: pools of workers.

mod set;

use clap::Subcommand;
use clb_client::Client;
use clb_client::protocol::api::PoolView;
use serde::Serialize;

use super::completion;
use super::grid::{print_table, table};
use super::output::{Printer, ago, document, memory, safe, say, state_cell, word};
use super::values::parse_pool_name;
use crate::failure::{Done, Failure, OK};
use set::SetOptions;

/// What is asked of pools.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// List the pools
    List,
    /// Show everything about a pool
    Show(Name),
    /// Create a pool, or change the given settings of an existing one
    Set(Box<SetOptions>),
    /// Delete a pool; a pool defined by the environment or clb.toml returns to that definition
    Delete(Name),
    /// Pause a pool: running tasks finish, no new ones start
    Pause(Name),
    /// Resume a paused pool
    Resume(Name),
}

/// Which pool.
#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// The pool
    #[arg(value_name = "POOL", value_parser = parse_pool_name, add = completion::pool())]
    name: String,
}

#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
    is_deleted: bool,
}

/// Does it.
pub(super) async fn run(command: PoolCommand, client: &Client, printer: Printer) -> Done {
    match command {
        PoolCommand::List => {
            let pools = client.pools().await?;
            if printer.is_json {
                document(&pools)?;
            } else {
                print_all(&pools)?;
            }
        }
        PoolCommand::Show(Name { name }) => {
            let pool = client.pool(&name).await?;
            if printer.is_json {
                document(&pool)?;
            } else {
                print_one(&pool)?;
            }
        }
        PoolCommand::Set(options) => print(&set::run(&options, client).await?, printer)?,
        PoolCommand::Delete(Name { name }) => {
            client.delete_pool(&name).await?;
            if printer.is_json {
                document(&Deleted { name: &name, is_deleted: true })?;
            }
        }
        PoolCommand::Pause(Name { name }) => print(&client.pause_pool(&name).await?, printer)?,
        PoolCommand::Resume(Name { name }) => print(&client.resume_pool(&name).await?, printer)?,
    }
    Ok(OK)
}

fn print(pool: &PoolView, printer: Printer) -> Result<(), Failure> {
    if printer.is_json { document(pool) } else { print_all(std::slice::from_ref(pool)) }
}

fn print_all(pools: &[PoolView]) -> Result<(), Failure> {
    let mut table = table(["NAME", "STATE", "WORKERS", "SLOTS", "QUEUED", "RUNNING", "IMAGE", "REASON"]);
    for pool in pools {
        let state = if pool.is_paused { "paused".to_owned() } else { word(&pool.state) };
        table.add_row(vec![
            safe(pool.name.as_str()).into(),
            state_cell(&state),
            format!("{}/{}", pool.workers.ready, pool.workers.wanted).into(),
            pool.spec.slots.to_string().into(),
            pool.tasks.queued.to_string().into(),
            pool.tasks.running.to_string().into(),
            safe(pool.spec.image.as_deref().unwrap_or("(bundled)")).into(),
            safe(pool.reason.as_deref().unwrap_or_default()).into(),
        ]);
    }
    print_table(table)
}

fn print_one(pool: &PoolView) -> Result<(), Failure> {
    let spec = &pool.spec;
    let env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts: Vec<String> = spec
        .mounts
        .iter()
        .map(|it| format!("{}:{}{}", it.source, it.target, if it.read_only { ":ro" } else { "" }))
        .collect();
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let fields = [
        ("name", pool.name.to_string()),
        ("state", format!("{} for {}", word(&pool.state), ago(pool.since))),
        ("reason", pool.reason.clone().unwrap_or_default()),
        ("paused", yes_or_no(pool.is_paused)),
        ("source", word(&pool.source)),
        ("workers", format!("{} ready of {}", pool.workers.ready, pool.workers.wanted)),
        ("tasks", format!("{} queued, {} running", pool.tasks.queued, pool.tasks.running)),
        ("image", spec.image.clone().unwrap_or_else(|| "(bundled)".to_owned())),
        ("slots", spec.slots.to_string()),
        ("memory", memory(spec.memory.0)),
        ("cpus", spec.cpus.to_string()),
        ("pids", spec.pids.to_string()),
        ("env", env.join(" ")),
        ("mounts", mounts.join(" ")),
        ("user", spec.user.clone()),
        ("network", yes_or_no(spec.network)),
        ("read-only", yes_or_no(spec.read_only)),
        ("placement", word(&spec.placement)),
        ("stop grace", format!("{} s", spec.stop_grace)),
        ("first port", spec.first_port.map(|port| port.to_string()).unwrap_or_default()),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        say(format!("{name:<10}  {}", safe(&value)))?;
    }
    Ok(())
}
