//! Programs that do nothing, run as tasks, beside bare fork, exec and wait of the same program with as many
//! processes at once.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use clb_tests::cluster::WorkerKind;
use clb_tests::{Cluster, Setup};
use serde_json::{Value, json};

use crate::load;
use crate::{median, published, rounded};

const TASKS: usize = 10_000;
const BATCH: usize = 500;
const ROUNDS: usize = 5;
const SLOTS: u16 = 16;
const NO_OP: &str = r#"{"kind":"command","command":["/fixture","exit","0"]}"#;

/// On a cluster of its own, whose workers have the program.
pub(crate) async fn measure() -> Value {
    let cluster = Setup::new().kind(WorkerKind::WithFixture).slots(SLOTS).start().await;
    let at_once = usize::from(SLOTS) * cluster.worker_count();
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
