//! Measures a whole cluster on this machine and prints JSON: latency, throughput, respawn, memory, images.
//!
//!     cargo run --release -p clb-tests --bin bench
//!
//! Figures of one run belong together: a machine that is shared or warm gives others. `published` is
//! through the port on 127.0.0.1, as callers on the host come, which passes Docker's own proxy; `direct`
//! is the container's address, as callers in the cluster's network come.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

mod engine;
mod load;
mod memory;
mod respawn;

use clb_tests::{Cluster, Setup};
use serde_json::{Value, json};

use load::Caller;

const SINGLE_TASKS: usize = 20_000;
const CONNECTIONS: usize = 32;
const BATCHED_TASKS: usize = 100_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;
const WAITING_TASKS: usize = 100_000;

#[tokio::main]
async fn main() {
    eprintln!("{WAITING_TASKS} waiting tasks");
    let waiting = memory::with_waiting(&Setup::new().start().await, WAITING_TASKS).await;
    let cluster = Setup::new().start().await;
    let report = measure(&cluster, waiting).await;
    println!("{report:#}");
}

async fn measure(cluster: &Cluster, waiting: Value) -> Value {
    let published = published(cluster).await;
    let port = published.rsplit(':').next().unwrap_or_default();
    let direct = format!("{}:{port}", engine::address_of(cluster.leader().await.id()).await);
    let idle = memory::idle(cluster).await;
    let mut load = serde_json::Map::new();
    for (way, address) in [("published", &published), ("direct", &direct)] {
        eprintln!("load, {way} ({address})");
        load.insert(way.to_owned(), put_load(address).await);
    }
    eprintln!("respawn");
    let respawn = respawn::compare(cluster, &direct).await;
    json!({
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "workers": cluster.worker_count(),
        "load": load,
        "respawn_ms": respawn,
        "memory_mb": {"idle": idle, "waiting": waiting},
        "image_mb": memory::image_sizes().await,
    })
}

/// The leader's address on the host.
async fn published(cluster: &Cluster) -> String {
    cluster.leaders_door().await.url("").trim_start_matches("http://").to_owned()
}

async fn put_load(address: &str) -> Value {
    let mut caller = Caller::connect(address).await;
    load::warm_up(address).await;
    let latency = load::latency(&mut caller).await;
    let mut single = Vec::new();
    let mut batched = Vec::new();
    for _ in 0..ROUNDS {
        single.push(load::single_calls(address, SINGLE_TASKS, CONNECTIONS).await);
        batched.push(load::batches(address, BATCHED_TASKS, BATCH).await);
    }
    json!({
        "latency_ms": latency,
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
