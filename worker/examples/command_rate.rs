//! How many programs a worker runs in a second, beside bare fork, exec and wait of the same program:
//!
//! ```text
//! cargo run --release -p clb-worker --example command_rate -- [PROGRAM [TASKS [AT_ONCE]]]
//! ```
//!
//! A static program that does nothing shows the cost of running it, and no other.

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clb_protocol::link::Yield;
use clb_protocol::task::{self, Argv};
use clb_protocol::{AttemptNo, TaskId};
use clb_worker::run::Told;
use clb_worker::run::command::{Job, Launcher, SHEPHERD, Shepherds, shepherd_main};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == SHEPHERD) {
        return shepherd_main();
    }
    let program = arguments.first().map_or("/bin/true", String::as_str);
    let number =
        |place: usize, default| arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (tasks, at_once) = (number(1, 10_000), number(2, 8));
    println!("{tasks} times {program}, {at_once} at once");
    for round in 1..=3 {
        let bare = tasks as f64 / bare(program, tasks, at_once);
        let Ok(seconds) = kept(program, tasks, at_once) else { return ExitCode::FAILURE };
        let kept = tasks as f64 / seconds;
        println!("round {round}: bare {bare:.0}/s, as tasks {kept:.0}/s, {:.0} %", 100.0 * kept / bare);
    }
    ExitCode::SUCCESS
}

fn bare(program: &str, tasks: usize, at_once: usize) -> f64 {
    let left = AtomicUsize::new(tasks);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let status = Command::new(program)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status();
                    assert!(status.is_ok_and(|status| status.success()), "{program} fails");
                }
            });
        }
    });
    began.elapsed().as_secs_f64()
}

fn kept(program: &str, tasks: usize, at_once: usize) -> std::io::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut shepherds = Shepherds::new(Launcher::own(), tell);
        let mut start = || {
            let command = task::Command::new(Argv::new::<&str>(program, []));
            let key = (TaskId::now(), AttemptNo(1));
            shepherds.start(Box::new(Job {
                key,
                group: None,
                command,
                linger: Duration::ZERO,
                stop_grace: Duration::ZERO,
            }));
        };
        let began = Instant::now();
        (0..at_once.min(tasks)).for_each(|_| start());
        for done in 1..=tasks {
            let Some(Told::Ended(end)) = told.recv().await else { break };
            assert!(matches!(end.gave, Yield::Succeeded(_)), "{:?}", end.gave);
            if done + at_once <= tasks {
                start();
            }
        }
        Ok(began.elapsed().as_secs_f64())
    })
}
