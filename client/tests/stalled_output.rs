//! Nobody reads what the page's program writes.

#![cfg(feature = "cli")]
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
async fn a_page_whose_output_nobody_reads_is_served_and_ends_when_told_to() {
    let orchestrator = TcpListener::bind("127.0.0.1:0").unwrap();
    orchestrator.set_nonblocking(true).unwrap();
    let orchestrator = tokio::net::TcpListener::from_std(orchestrator).unwrap();
    let url = format!("http://{}", orchestrator.local_addr().unwrap());
    let (_nobody, stdout) = full_pipe();
    let mut page = Command::new(env!("CARGO_BIN_EXE_clb"))
        .args(["serve", "--listen", "127.0.0.1:0", "--url", &url])
        .stdout(stdout.try_clone().unwrap())
        .stderr(stdout)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    timeout(PATIENCE, orchestrator.accept()).await.expect("it follows the cluster").unwrap();
    let pid = Pid::from_raw(page.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, page.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}
