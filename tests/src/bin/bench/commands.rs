//! Programs that do nothing, run as tasks, beside bare fork, exec and wait of the same file with as many
//! processes at once. The workers have its folder as a mount: how fast the engine's own file system starts
//! programs is not what is asked.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
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
    let (mut bare, mut tasks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let least = tokio::task::spawn_blocking(move || bare_rate(at_once)).await.expect("it runs");
        let ours = run(&cluster, &address).await;
        bare.push(least);
        tasks.push(ours);
        ratios.push(ours / least);
    }
    json!({
        "tasks": TASKS,
        "at_once": at_once,
        "bare_per_s": median(&bare).round(),
        "tasks_per_s": median(&tasks).round(),
        "ratio": {"median": rounded(median(&ratios)), "runs": ratios.iter().map(|it| rounded(*it)).collect::<Vec<_>>()},
    })
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

fn bare_rate(at_once: usize) -> f64 {
    let program = fixture();
    let left = AtomicUsize::new(TASKS);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let take = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    let mut command = Command::new(&program);
                    command
                        .args(["exit", "0"])
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null());
                    assert!(command.status().is_ok_and(|status| status.success()), "{command:?} fails");
                }
            });
        }
    });
    TASKS as f64 / began.elapsed().as_secs_f64()
}

/// The same program on the host: it is built beside this one.
fn fixture() -> PathBuf {
    std::env::current_exe().expect("this program has a path").with_file_name("fixture")
}
