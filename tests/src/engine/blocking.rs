//! Docker for destructors, which cannot wait for a future.

use std::process::{Command, Stdio};

fn run(arguments: &[&str]) -> Vec<String> {
    let done = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    let output = done.map(|done| done.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
}

fn run_on(arguments: &[&str], on: &[String]) {
    if !on.is_empty() {
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        run(&[arguments, on.as_slice()].concat());
    }
}

fn containers(prefix: &str, role: Option<&str>) -> Vec<String> {
    let name = format!("name=^/{prefix}");
    let label = role.map(|role| format!("label=clb.role={role}"));
    let mut arguments = vec!["ps", "-a", "--format", "{{.Names}}", "--filter", &name];
    arguments.extend(label.iter().flat_map(|label| ["--filter", label.as_str()]));
    run(&arguments)
}

fn networks(prefix: &str) -> Vec<String> {
    run(&["network", "ls", "--format", "{{.Name}}", "--filter", &format!("name=^{prefix}")])
}

fn volumes(prefix: &str) -> Vec<String> {
    run(&["volume", "ls", "-q", "--filter", &format!("name=^{prefix}")])
}

fn images(prefix: &str) -> Vec<String> {
    run(&["images", "--format", "{{.Repository}}", &format!("{prefix}*")])
}

/// The names of everything that begins with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    [containers(prefix, None), networks(prefix), volumes(prefix), images(prefix)].concat()
}

/// Removes everything whose name begins with `prefix`, images included.
pub(crate) fn remove_all(prefix: &str) {
    remove_cluster(prefix);
    run_on(&["rmi", "-f"], &images(prefix));
}

/// Removes containers, networks and volumes whose names begin with `prefix`; the orchestrators first, for
/// they would replace the workers.
pub fn remove_cluster(prefix: &str) {
    run_on(&["rm", "-fv"], &containers(prefix, Some("orchestrator")));
    for _ in 0..20 {
        let rest = containers(prefix, None);
        if rest.is_empty() {
            break;
        }
        run_on(&["rm", "-fv"], &rest);
    }
    run_on(&["network", "rm"], &networks(prefix));
    run_on(&["volume", "rm"], &volumes(prefix));
}

/// The state and the last log lines of all containers whose names begin with `prefix`.
pub fn report(prefix: &str) -> String {
    let name = format!("name=^/{prefix}");
    let mut text = run(&["ps", "-a", "--format", "{{.Names}}: {{.Status}}", "--filter", &name]).join("\n");
    for container in containers(prefix, None) {
        let logs =
            Command::new("docker").args(["logs", "--tail", "120", "--timestamps", &container]).output();
        let Ok(logs) = logs else { continue };
        let (out, err) = (String::from_utf8_lossy(&logs.stdout), String::from_utf8_lossy(&logs.stderr));
        text.extend(["\n---- ", &container, "\n", &out, &err]);
    }
    text
}
