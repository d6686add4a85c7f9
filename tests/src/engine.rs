//! Docker, through its command line, as an operator would use it.

pub mod blocking;
mod container;
mod gate;
mod stalled_output;

use std::process::Stdio;

use tokio::process::Command;

pub use container::{Container, Frozen, Inspected};
pub use gate::Gate;
pub use stalled_output::StalledOutput;

/// Runs `docker` with these arguments; gives its output, or what it complained about.
pub async fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let done = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await;
    let done = done.map_err(|error| format!("docker cannot be started: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    } else {
        let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        Err(format!("docker {}: {complaint}", arguments.join(" ")))
    }
}

/// Runs `docker` with these arguments; gives all that it wrote, however it ended.
pub async fn docker_output(arguments: &[&str]) -> String {
    let done = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await;
    let done = done.expect("docker can be started");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    format!("{out}{err}")
}

/// Runs `docker` with these arguments; panics with what it complained about.
pub async fn docker(arguments: &[&str]) -> String {
    match try_docker(arguments).await {
        Ok(output) => output,
        Err(complaint) => panic!("{complaint}"),
    }
}

/// Kills all of these with one command.
pub async fn kill_together(containers: &[Container]) {
    let names: Vec<&str> = containers.iter().map(Container::id).collect();
    docker(&[&["kill"], names.as_slice()].concat()).await;
}

/// Stops all of these with one command, as Compose does.
pub async fn stop_together(containers: &[Container]) {
    let names: Vec<&str> = containers.iter().map(Container::id).collect();
    docker(&[&["stop"], names.as_slice()].concat()).await;
}
