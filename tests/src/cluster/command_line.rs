//! The command line beside a cluster, as a person uses it on the same machine.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Cluster;
use crate::images::images;

/// How a run of the command line ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it remarked.
    pub stderr: String,
}

impl Cluster {
    /// Runs `clb` with these arguments and this input until it ends.
    pub async fn clb(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(&images().await.clb);
        command.args(arguments).env("CLB_URL", self.doors().map(|door| door.url("")).join(","));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut running = command.spawn().expect("clb starts");
        let mut stdin = running.stdin.take().expect("its input");
        let feed = async move {
            // One that ends early does not read it all.
            drop(stdin.write_all(input.as_bytes()).await);
        };
        let ((), done) = tokio::join!(feed, running.wait_with_output());
        let done = done.expect("clb ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: done.status.code(), stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }
}
