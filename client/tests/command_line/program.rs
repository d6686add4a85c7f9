//! Running `clb`.

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::stand_in::StandIns;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `clb` with nothing of this machine's configuration.
pub(crate) fn clb(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clb"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().env("XDG_CONFIG_HOME", "/nowhere").kill_on_drop(true);
    command
}

/// The same for a cluster.
pub(crate) fn clb_of(cluster: &StandIns, arguments: &[&str]) -> Command {
    let mut command = clb(arguments);
    command.env("CLB_URL", cluster.urls().join(","));
    command
}

/// Runs it to its end.
pub(crate) async fn run(cluster: &StandIns, arguments: &[&str]) -> Ended {
    ended(clb_of(cluster, arguments).output().await.unwrap())
}

/// Runs it with this standard input.
pub(crate) async fn run_with_input(cluster: &StandIns, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
    finish(start_with_input(cluster, arguments, input).await).await
}

/// Starts it with this standard input.
pub(crate) async fn start_with_input(
    cluster: &StandIns,
    arguments: &[&str],
    input: impl AsRef<[u8]>,
) -> Child {
    let mut child = clb_of(cluster, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_vec();
    // A program that ends early does not read all of it.
    tokio::spawn(async move { stdin.write_all(&input).await });
    child
}

pub(crate) async fn finish(child: Child) -> Ended {
    ended(child.wait_with_output().await.unwrap())
}

pub(crate) fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What it has written, as soon as it is so long.
pub(crate) async fn written(child: &mut Child, length: usize) -> String {
    let mut bytes = vec![0; length];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Waits until it has remarked this, and gives all that it has remarked until then.
pub(crate) async fn remarked(child: &mut Child, text: &str) -> String {
    let mut remarks = Vec::new();
    let stderr = child.stderr.as_mut().unwrap();
    while !String::from_utf8_lossy(&remarks).contains(text) {
        assert_ne!(stderr.read_buf(&mut remarks).await.unwrap(), 0, "{}", String::from_utf8_lossy(&remarks));
    }
    String::from_utf8(remarks).unwrap()
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

/// An address at which nothing listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
