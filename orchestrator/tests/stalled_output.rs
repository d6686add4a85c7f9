//! Nobody reads what the database's program writes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../outlet/tests/full_pipe/mod.rs"]
mod full_pipe;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use full_pipe::full_pipe;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An orchestrator that takes no lines, and whenever it was asked to.
async fn refusing() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (asked, asks) = mpsc::unbounded_channel();
    let refuse = async move || {
        let _ = asked.send(());
        StatusCode::SERVICE_UNAVAILABLE
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let orchestrator = Router::new().route("/link/v1/logs", post(refuse));
    tokio::spawn(axum::serve(listener, orchestrator).into_future());
    (address, asks)
}

#[tokio::test]
async fn a_database_whose_output_nobody_reads_goes_on_and_ends_when_told_to() {
    let (orchestrator, mut asks) = refusing().await;
    let folder = tempfile::tempdir().unwrap();
    let (_nobody, output) = full_pipe();
    let mut database = Command::new(env!("CARGO_BIN_EXE_clb-orchestrator"))
        .args(["database", "--listen", "127.0.0.1:0", "--url", &format!("http://{orchestrator}")])
        .arg("--store")
        .arg(folder.path().join("clb.db"))
        // So that one thread that waits is enough.
        .env("TOKIO_WORKER_THREADS", "1")
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // It tells of the first refusal before it asks again.
    for _ in 0..2 {
        timeout(PATIENCE, asks.recv()).await.expect("it asks again").unwrap();
    }
    let pid = Pid::from_raw(database.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, database.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}
