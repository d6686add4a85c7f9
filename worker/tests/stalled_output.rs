//! Nobody reads what the worker writes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../outlet/tests/full_pipe/mod.rs"]
mod full_pipe;

use std::net::TcpListener;
use std::time::Duration;

use full_pipe::full_pipe;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::timeout;

/// Longer than anything here takes on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_worker_whose_output_nobody_reads_looks_for_its_leader_and_ends_when_told_to() {
    let leader = TcpListener::bind("127.0.0.1:0").unwrap();
    leader.set_nonblocking(true).unwrap();
    let leader = tokio::net::TcpListener::from_std(leader).unwrap();
    let url = format!("http://{}", leader.local_addr().unwrap());
    let (_nobody, stdout) = full_pipe();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_clb-worker"))
        .args(["--orchestrators", &url, "--listen", "127.0.0.1:0"])
        .stdout(stdout.try_clone().unwrap())
        .stderr(stdout)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    timeout(PATIENCE, leader.accept()).await.expect("it looks for its leader").unwrap();
    let pid = Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, worker.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}
