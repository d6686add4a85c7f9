//! Programs that do nothing, run as tasks, beside bare fork, exec and wait of the same file with as many
//! processes at once: on the host, and in one container that is locked down as a worker's, where the same calls take
//! longer. The workers have its folder as a mount: how fast the engine's own file system starts programs is not what is
//! asked.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clb_tests::engine::docker;
use clb_tests::images::images;
use clb_tests::{Cluster, Setup};
use serde_json::{Value, json};

use crate::load;
use crate::{median, published, rounded};

const TASKS: usize = 10_000;
const BATCH: usize = 500;
const ROUNDS: usize = 5;
const SLOTS: u16 = 16;
const WORKERS: usize = 3;
const NO_OP: &str = r#"{"kind":"command","pool":"programs","command":["/programs/fixture","exit","0"]}"#;

/// On a cluster of its own, whose workers have the program.
pub(crate) async fn measure() -> Value {
    let folder = fixture().parent().expect("a folder").to_owned();
    let cluster = Setup::new().workers(1).option("CLB_MOUNT_PREFIXES", folder.display()).start().await;
    let mounts = json!([{"source": folder, "target": "/programs", "read_only": true}]);
    let image = &images().await.fixture;
    let spec = json!({"image": image, "workers": WORKERS, "slots": SLOTS, "mounts": mounts});
    cluster.has_pool("programs", &spec).await;
    let at_once = usize::from(SLOTS) * WORKERS;
    let address = published(&cluster).await;
    run(&cluster, &address).await;
    let (mut on_host, mut contained, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        on_host.push(bare_rate_on_host(at_once).await);
        tasks.push(run(&cluster, &address).await);
        contained.push(bare_rate_contained(&folder, at_once).await);
    }
    json!({
        "tasks": TASKS,
        "at_once": at_once,
        "bare_on_host_per_s": median(&on_host).round(),
        "bare_in_container_per_s": median(&contained).round(),
        "tasks_per_s": median(&tasks).round(),
        "ratio_to_host": ratio(&tasks, &on_host),
        "ratio_to_container": ratio(&tasks, &contained),
    })
}

/// The median of the rounds' ratios, and each of them.
fn ratio(ours: &[f64], bare: &[f64]) -> Value {
    let ratios: Vec<f64> = ours.iter().zip(bare).map(|(ours, bare)| ours / bare).collect();
    json!({"median": rounded(median(&ratios)), "runs": ratios.iter().map(|it| rounded(*it)).collect::<Vec<_>>()})
}

/// All tasks in batches, until all outcomes are back; all must have succeeded.
async fn run(cluster: &Cluster, address: &str) -> f64 {
    let before = cluster.view().await.tasks;
    let lines: Bytes = format!("{NO_OP}\n").repeat(BATCH).into();
    let rate = load::batches_of(address, TASKS, BATCH, lines).await;
    let after = cluster.view().await.tasks;
    assert_eq!(after.succeeded, before.succeeded + TASKS as u64, "{after:?}");
    rate
}

/// As the workers' containers are locked down, without anything of ours in them.
async fn bare_rate_contained(folder: &Path, at_once: usize) -> f64 {
    let mount = format!("{}:/programs:ro", folder.display());
    let container = "run --rm --network=none --user=65534:65534 --cap-drop=ALL --read-only";
    let mut arguments: Vec<&str> = container.split(' ').collect();
    arguments.extend(["--security-opt=no-new-privileges", "--volume", &mount, &images().await.fixture]);
    let (times, at_once) = (TASKS.to_string(), at_once.to_string());
    arguments.extend(["run-bare", "/programs/fixture", &times, &at_once]);
    docker(&arguments).await.trim().parse().expect("programs in a second")
}

async fn bare_rate_on_host(at_once: usize) -> f64 {
    let program = fixture();
    let mut command = tokio::process::Command::new(&program);
    command.arg("run-bare").arg(&program).args([TASKS.to_string(), at_once.to_string()]);
    let output = command.output().await.expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("programs in a second")
}

/// The same program on the host: it is built beside this one.
fn fixture() -> PathBuf {
    std::env::current_exe().expect("this program has a path").with_file_name("fixture")
}
