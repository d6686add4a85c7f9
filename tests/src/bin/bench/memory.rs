//! How much memory the processes hold, and how large their images are.

use std::collections::BTreeMap;

use bytes::Bytes;
use clb_tests::Cluster;
use clb_tests::engine::{Container, docker};
use clb_tests::images::images;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::load::Caller;
use crate::{published, rounded};

const KILO: f64 = 1_024.0;
/// Sleeps that outlast the benchmark; no worker takes more of them than it has slots.
const LONG: &str = r#"{"kind":"sleep","seconds":86400,"add":[3,4],"priority":-100}"#;
const BATCH: usize = 10_000;

/// Nothing to do: the leader, the standby and a worker.
pub(crate) async fn idle(cluster: &Cluster) -> Value {
    json!({
        "leader": resident(&cluster.leader().await).await,
        "standby": resident(&cluster.standby().await).await,
        "worker": resident(&cluster.container("worker-1")).await,
    })
}

/// The leader while so many tasks wait.
pub(crate) async fn with_waiting(cluster: &Cluster, tasks: usize) -> Value {
    let before = resident(&cluster.leader().await).await;
    let mut caller = Caller::connect(&published(cluster).await).await;
    let lines: Bytes = format!("{LONG}\n").repeat(BATCH).into();
    for _ in 0..tasks / BATCH {
        let sent = Some(("application/x-ndjson", lines.clone()));
        caller.call("/api/v1/tasks/batch", sent, StatusCode::OK).await;
    }
    let after = resident(&cluster.leader().await).await;
    json!({"tasks": tasks, "leader_before": before, "leader": after})
}

/// How large the programs' images are.
pub(crate) async fn image_sizes() -> BTreeMap<&'static str, f64> {
    let all = images().await;
    let mut sizes = BTreeMap::new();
    for (name, image) in
        [("orchestrator", &all.orchestrator), ("worker", &all.worker), ("client", &all.client)]
    {
        let bytes: f64 =
            docker(&["image", "inspect", "-f", "{{.Size}}", image]).await.parse().expect("a size");
        sizes.insert(name, rounded(bytes / KILO / KILO));
    }
    sizes
}

/// The resident set of a container's first process, in MB of 1024 x 1024 bytes.
async fn resident(container: &Container) -> f64 {
    let pid = container.inspect().await.state.pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of this machine");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    rounded(kilobytes / KILO)
}
