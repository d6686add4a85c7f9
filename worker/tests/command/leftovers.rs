//! What programs leave behind: nothing, however they try.

use std::fs;
use std::time::Duration;

use clb_protocol::link::Yield;
use clb_worker::run::command::StopGives;

use crate::bench::{Bench, FOR_EVER, mark, processes_with, read, sh, until, until_there_are};

const NONE: [u32; 0] = [];

/// Ways to start a sleeper that is to stay.
const ESCAPES: [&str; 6] = [
    "sleep MARK &",
    "nohup sleep MARK >/dev/null 2>&1 &",
    "setsid sleep MARK >/dev/null 2>&1 </dev/null &",
    "(setsid sh -c 'sleep MARK & exit' &) &",
    "env -i setsid sh -c 'sleep MARK >/dev/null 2>&1 & exit' &",
    "(trap '' TERM HUP; setsid sleep MARK &) &",
];

#[tokio::test]
async fn what_a_program_detached_does_not_outlive_its_task() {
    for escape in ESCAPES {
        let mut bench = Bench::new();
        let mark = mark();
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let wait = format!("until [ -e {} ]; do :; done", go.display());
        let script = format!("{}\n{wait}\necho done", escape.replace("MARK", &mark));
        let key = bench.start(sh(&script));
        until_there_are(&mark, 1).await;
        fs::write(go, "").unwrap();
        let ended = bench.ended().await;
        assert!(matches!(&ended.gave, Yield::Succeeded(result) if result.get().contains("done")), "{escape}");
        assert_eq!(ended.key, key);
        assert_eq!(processes_with(&mark), NONE, "{escape}");
    }
}

#[tokio::test]
async fn what_a_program_detached_dies_with_it_when_it_is_stopped() {
    for escape in ESCAPES {
        let mut bench = Bench::new();
        let mark = mark();
        let key = bench.start(sh(&format!("{} sleep {mark}", escape.replace("MARK", &mark))));
        until_there_are(&mark, 2).await;
        bench.stop(key, StopGives::Cancelled, Duration::from_millis(20));
        assert!(matches!(bench.ended().await.gave, Yield::Cancelled(_)));
        assert_eq!(processes_with(&mark), NONE, "{escape}");
    }
}

#[tokio::test]
async fn a_task_does_not_touch_what_another_one_detached() {
    let mut bench = Bench::new();
    let mark = mark();
    let first = bench.start(sh(&format!("env -i setsid sleep {mark} & sleep {mark}")));
    until_there_are(&mark, 2).await;
    let second = bench.start(sh("(env -i setsid sleep 100000 &) ; true"));
    assert_eq!(bench.ended().await.key, second);
    // One that is between two programs has no arguments for a moment.
    until_there_are(&mark, 2).await;
    bench.stop(first, StopGives::Cancelled, FOR_EVER);
    assert_eq!(bench.ended().await.key, first);
    assert_eq!(processes_with(&mark), NONE);
}

#[tokio::test]
async fn what_finishes_by_itself_behind_its_program_may_do_so() {
    let mut bench = Bench::new();
    bench.start_lingering(sh("(sleep 0.1; echo last) &"), FOR_EVER);
    let Yield::Succeeded(result) = bench.ended().await.gave else { panic!("it failed") };
    assert_eq!(read(&result).stdout.bytes, b"last\n");
}

#[tokio::test]
async fn processes_that_run_away_by_forking_are_caught() {
    let mut bench = Bench::new();
    let mark = mark();
    // Each forks its successor and ends: the same number of processes, never the same ones.
    let runners = "run() { run & }; for n in 1 2 3 4 5 6 7 8; do run; done";
    let key = bench.start(sh(&format!("{runners}; sleep {mark}")));
    until_there_are(&mark, 1).await;
    let shepherd = until("the sleeper has a parent", || parent_of_parent(&mark)).await;
    bench.stop(key, StopGives::TimedOut, Duration::ZERO);
    assert!(matches!(bench.ended().await.gave, Yield::TimedOut(Some(_))));
    assert_eq!(children(shepherd), NONE);
}

#[tokio::test]
async fn no_zombies_stay_behind() {
    let mut bench = Bench::new();
    let shepherd = bench.shepherd().await;
    let orphans = "for n in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'true' &); done; true";
    for _ in 0..5 {
        bench.succeed(sh(orphans)).await;
    }
    assert_eq!(bench.shepherd().await, shepherd);
    assert_eq!(children(shepherd), NONE);
}

#[tokio::test]
async fn an_abandoned_program_is_killed_with_everything_and_nothing_is_said() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("trap '' TERM; setsid sleep {mark} & sleep {mark}; true")));
    until_there_are(&mark, 2).await;
    bench.shepherds.abandon(key);
    until_there_are(&mark, 0).await;
    let next = bench.start(sh("true"));
    assert_eq!(bench.ended().await.key, next);
}

#[tokio::test]
async fn a_worker_that_is_gone_leaves_nothing_behind() {
    let mark = mark();
    {
        let mut bench = Bench::new();
        bench.start(sh(&format!("trap '' TERM; setsid sleep {mark} & sleep {mark}; true")));
        until_there_are(&mark, 2).await;
    }
    until_there_are(&mark, 0).await;
}

#[tokio::test]
async fn a_killed_shepherd_is_a_failure_of_its_task_and_the_next_one_gets_another() {
    let mut bench = Bench::new();
    let shepherd = bench.shepherd().await;
    let failure = bench.fail(sh("kill -9 $PPID")).await;
    assert!(
        failure.error.starts_with("the process that kept its program is gone (signal: 9 (SIGKILL)"),
        "{}",
        failure.error
    );
    assert_ne!(bench.shepherd().await, shepherd);
}

fn field(pid: u32, place: usize) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(place)?.parse().ok()
}

fn parent(pid: u32) -> Option<u32> {
    field(pid, 1)
}

/// The parent of the shell that has the sleeper as its child.
fn parent_of_parent(mark: &str) -> Option<u32> {
    processes_with(mark).first().and_then(|pid| parent(*pid)).and_then(parent)
}

/// The children of a process, zombies included.
fn children(of: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}
