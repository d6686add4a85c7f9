//! What belongs to this process on the engine. Every name begins with [`prefix`]; whatever is left of a
//! process that ended, however it ended, is removed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::blocking;

const FAMILY: &str = "clbt";

/// What all names of this process begin with: `clbt-SPACE-PID-`. A process id means something only
/// within its space of process ids.
pub fn prefix() -> String {
    format!("{FAMILY}-{}-{}-", pid_space(), std::process::id())
}

/// A name that no other cluster has.
pub fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("{}{}", prefix(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn pid_space() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{:x}", digits.parse::<u64>().unwrap_or(0) % 0xffff)
}

/// Removes what earlier processes left behind and sees to it that nothing of this one stays.
pub(crate) fn begin() {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        for owner in leftovers() {
            blocking::remove_all(&owner);
        }
        spawn_reaper(&prefix());
    });
}

/// The prefixes of dead processes that still have containers, networks, volumes or images.
fn leftovers() -> Vec<String> {
    let ours = format!("{FAMILY}-{}-", pid_space());
    let mut owners: Vec<String> = blocking::names(&ours)
        .iter()
        .filter_map(|name| {
            let pid: String = name.strip_prefix(&ours)?.chars().take_while(char::is_ascii_digit).collect();
            let is_dead = !pid.is_empty() && !Path::new("/proc").join(&pid).exists();
            is_dead.then(|| format!("{ours}{pid}-"))
        })
        .collect();
    owners.sort();
    owners.dedup();
    owners
}

/// A shell that reads from a pipe of this process until the process is gone, even when it was killed,
/// and then removes what is left.
fn spawn_reaper(prefix: &str) {
    use std::os::unix::process::CommandExt as _;
    const SCRIPT: &str = r#"
        cat >/dev/null
        docker ps -aq --filter "name=^/$1" --filter label=clb.role=orchestrator | xargs -r docker rm -fv
        docker ps -aq --filter "name=^/$1" | xargs -r docker rm -fv
        docker network ls -q --filter "name=^$1" | xargs -r docker network rm
        docker volume ls -q --filter "name=^$1" | xargs -r docker volume rm
        docker images -q "$1*" | xargs -r docker rmi -f
    "#;
    let reaper = Command::new("sh")
        .args(["-c", SCRIPT, "reaper", prefix])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell can be started");
    std::mem::forget(reaper);
}
