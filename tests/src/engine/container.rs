//! One container and what can be done to it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::stalled_output::{StalledOutput, fill_outputs, reader_of};
use super::{docker, try_docker};

/// A container, by its id or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container(String);

/// What `docker inspect` tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// Its full id.
    pub id: String,
    /// The id of its image.
    pub image: String,
    /// Its state.
    pub state: State,
    /// How it may use the host.
    pub host_config: Value,
    /// How its process runs.
    pub config: Value,
}

/// The state of a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Whether its process lives.
    pub running: bool,
    /// Its process on the host.
    pub pid: u32,
    /// When it was started last.
    pub started_at: String,
    /// With what its process ended last.
    pub exit_code: i64,
}

/// Which process of a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// Its first process.
    Program,
    /// The engine's process that takes what its program writes, with pipes that are full: whoever writes has to wait.
    Output,
}

impl Container {
    /// The container with this id or name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its id or name.
    pub fn id(&self) -> &str {
        &self.0
    }

    /// Any command of Docker on it, which may fail because it has gone.
    pub async fn try_do(&self, command: &str) -> Result<String, String> {
        try_docker(&[command, &self.0]).await
    }

    /// `docker kill`.
    pub async fn kill(&self) {
        docker(&["kill", &self.0]).await;
    }

    /// `docker stop`.
    pub async fn stop(&self) {
        docker(&["stop", &self.0]).await;
    }

    /// `docker start`.
    pub async fn start(&self) {
        docker(&["start", &self.0]).await;
    }

    /// `docker rm -f`.
    pub async fn remove(&self) {
        docker(&["rm", "-f", &self.0]).await;
    }

    /// `docker pause`.
    pub async fn pause(&self) {
        docker(&["pause", &self.0]).await;
    }

    /// `docker unpause`, unless it has gone.
    pub async fn unpause_if_there(&self) -> bool {
        try_docker(&["unpause", &self.0]).await.is_ok()
    }

    /// `docker network disconnect`.
    pub async fn disconnect(&self, network: &str) {
        docker(&["network", "disconnect", network, &self.0]).await;
    }

    /// `docker network connect`.
    pub async fn connect(&self, network: &str) {
        docker(&["network", "connect", network, &self.0]).await;
    }

    /// `docker restart`.
    pub async fn restart(&self) {
        docker(&["restart", &self.0]).await;
    }

    /// Lowers its memory limit, without swap.
    pub async fn limit_memory(&self, limit: &str) {
        docker(&["update", "--memory", limit, "--memory-swap", limit, &self.0]).await;
    }

    /// Sends a signal to its process, past Docker.
    pub async fn signal_from_outside(&self, signal: &str) {
        let pid = self.inspect().await.state.pid;
        let done = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await;
        assert!(done.is_ok_and(|status| status.success()), "process {pid} of {} cannot be reached", self.0);
    }

    /// Stops the process that reads what it writes, as a log driver that is stuck does, and fills up its pipes.
    /// It needs the rights to.
    pub async fn stall_output(&self) -> StalledOutput {
        StalledOutput::of(self.inspect().await.state.pid)
    }

    /// Stops a process of this machine that belongs to it for so long, past Docker. A process of its own wakes it
    /// up, even when this one has ended meanwhile.
    pub async fn freeze(&self, which: Frozen, time: Duration) -> Result<(), String> {
        const SCRIPT: &str = r#"kill -STOP "$1" && sleep "$2"; kill -CONT "$1""#;
        let program = self.inspect_if_there().await.map_or(0, |found| found.state.pid);
        let pid = match which {
            Frozen::Program => program as i32,
            Frozen::Output => reader_of(program).map_or(0, |reader| reader.as_raw_nonzero().get()),
        };
        if pid <= 1 {
            return Err(format!("{} does not run", self.0));
        }
        let seconds = time.as_secs_f64().to_string();
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", SCRIPT, "freeze", &pid.to_string(), &seconds]).process_group(0);
        let mut shell = shell.spawn().map_err(|error| error.to_string())?;
        if which == Frozen::Output {
            fill_outputs(program).map_err(|error| format!("the output of {}: {error}", self.0))?;
        }
        let done = shell.wait().await.map_err(|error| error.to_string())?;
        if done.success() { Ok(()) } else { Err(format!("process {pid} of {} has gone", self.0)) }
    }

    /// Runs a command in it and waits for its end, whatever that is.
    pub async fn execute(&self, command: &[&str]) -> Result<String, String> {
        try_docker(&[&["exec", &self.0], command].concat()).await
    }

    /// `docker inspect`.
    pub async fn inspect(&self) -> Inspected {
        match self.inspect_if_there().await {
            Some(found) => found,
            None => panic!("there is no container {}", self.0),
        }
    }

    /// `docker inspect`; nothing when it has gone.
    pub async fn inspect_if_there(&self) -> Option<Inspected> {
        let text = try_docker(&["container", "inspect", &self.0]).await.ok()?;
        let mut found: Vec<Inspected> = serde_json::from_str(&text).expect("docker inspect prints JSON");
        found.pop()
    }

    /// Whether its process lives.
    pub async fn is_running(&self) -> bool {
        self.inspect_if_there().await.is_some_and(|found| found.state.running)
    }

    /// What its process has written so far.
    pub async fn logs(&self) -> String {
        docker(&["logs", &self.0]).await
    }
}
