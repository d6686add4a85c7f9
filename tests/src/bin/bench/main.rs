//! Measures a whole cluster on this machine and prints JSON: latency, throughput, recovery, memory,
//! images.
//!
//!     cargo run --release -p clb-tests --bin bench [waiting|commands|load|deaths|peers]
//!
//! Figures of one run belong together: a machine that is shared or warm gives others. `published` is
//! through the port on 127.0.0.1, as callers on the host come, which passes Docker's own proxy; `direct`
//! is the container's address, as callers in the cluster's network come.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

mod commands;
mod engine;
mod load;
mod memory;
mod peers;
mod respawn;
mod takeover;

use clb_tests::{Cluster, Setup};
use serde_json::{Value, json};

use load::Caller;

const SINGLE_TASKS: usize = 20_000;
const CONNECTIONS: usize = 32;
const BATCHED_TASKS: usize = 100_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;
const WAITING_TASKS: usize = 100_000;

/// What can be measured by itself.
const PARTS: [&str; 5] = ["waiting", "commands", "load", "deaths", "peers"];

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("There is no part `{unknown}`; name any of {PARTS:?}, or nothing for all.");
        std::process::exit(2);
    }
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|it| it == part);
    let mut report = serde_json::Map::new();
    report.insert("cores".to_owned(), std::thread::available_parallelism().map_or(1, usize::from).into());
    if is_wanted("waiting") {
        eprintln!("{WAITING_TASKS} waiting tasks");
        let cluster = Setup::new().start().await;
        report.insert("memory_mb_waiting".to_owned(), memory::with_waiting(&cluster, WAITING_TASKS).await);
    }
    if is_wanted("commands") {
        eprintln!("programs as tasks");
        report.insert("commands".to_owned(), commands::measure().await);
    }
    if is_wanted("peers") {
        eprintln!("other queues that are installed");
        report.insert("peers_submit_to_result_ms".to_owned(), peers::measure().await);
    }
    let cluster = Setup::new().start().await;
    report.insert("workers".to_owned(), cluster.worker_count().into());
    report.insert("memory_mb_idle".to_owned(), memory::idle(&cluster).await);
    report.insert("image_mb".to_owned(), json!(memory::image_sizes().await));
    if is_wanted("load") {
        report.insert("load".to_owned(), load_both_ways(&cluster).await);
    }
    if is_wanted("deaths") {
        eprintln!("deaths of workers");
        let direct = direct(&cluster).await;
        report.insert("worker_killed".to_owned(), respawn::compare(&cluster, &direct).await);
        eprintln!("deaths of the leader");
        report.insert("leader_killed".to_owned(), takeover::measure(&cluster).await);
    }
    println!("{:#}", Value::Object(report));
}

async fn load_both_ways(cluster: &Cluster) -> Value {
    let mut load = serde_json::Map::new();
    for (way, address) in [("published", published(cluster).await), ("direct", direct(cluster).await)] {
        eprintln!("load, {way} ({address})");
        load.insert(way.to_owned(), put_load(cluster, &address).await);
    }
    Value::Object(load)
}

/// The leader's address in the cluster's network.
async fn direct(cluster: &Cluster) -> String {
    let published = published(cluster).await;
    let port = published.rsplit(':').next().unwrap_or_default();
    format!("{}:{port}", engine::address_of(cluster.leader().await.id()).await)
}

/// The leader's address on the host.
async fn published(cluster: &Cluster) -> String {
    cluster.leaders_door().await.url("").trim_start_matches("http://").to_owned()
}

async fn put_load(cluster: &Cluster, address: &str) -> Value {
    let mut caller = Caller::connect(address).await;
    load::warm_up(address).await;
    let before = load::durable_writes(cluster).await;
    let latency = load::latency(&mut caller).await;
    let after = load::durable_writes(cluster).await;
    let mut single = Vec::new();
    let mut batched = Vec::new();
    for _ in 0..ROUNDS {
        single.push(load::single_calls(address, SINGLE_TASKS, CONNECTIONS).await);
        batched.push(load::batches(address, BATCHED_TASKS, BATCH).await);
    }
    json!({
        "latency_ms": latency,
        "durable_write_ms": {"before": before, "after": after},
        "single_calls": {"tasks": SINGLE_TASKS, "connections": CONNECTIONS, "tasks_per_s": median_of(&single)},
        "batches": {"tasks": BATCHED_TASKS, "batch": BATCH, "tasks_per_s": median_of(&batched)},
    })
}

/// The median and every run.
fn median_of(runs: &[f64]) -> Value {
    json!({"median": median(runs).round(), "runs": runs.iter().map(|run| run.round()).collect::<Vec<_>>()})
}

/// The middle one, or the upper of the two in the middle; 0 of none.
fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of all lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Two decimals are more than a shared machine can promise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
