//! The descendants of a process, as `/proc` shows them, and signals to all of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait, waitpid};

/// A round of halting finds all but what was forked while it looked; a fork bomb needs some more.
const MAX_ROUNDS: usize = 64;

/// What children there are to wait for.
#[derive(Debug)]
pub(super) enum Reaped {
    /// This one had ended.
    Child(Pid, WaitStatus),
    /// None of them has ended.
    AllAlive,
    /// There are none.
    NoneLeft,
}

/// Takes the end of one child, whichever it is.
pub(super) fn reap() -> Reaped {
    match wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Reaped::Child(pid, status),
        Ok(None) => Reaped::AllAlive,
        Err(_) => Reaped::NoneLeft,
    }
}

/// Sends a signal to every descendant of this process.
pub(super) fn signal_all(signal: Signal) {
    for pid in Snapshot::take().descendants(getpid(), &HashSet::new()) {
        // It has ended meanwhile: all the better.
        let _ = kill_process(pid, signal);
    }
}

/// Kills every descendant of this process, the `spared` children and theirs left out, and tells whom.
/// What was being born meanwhile is met by the next call. What is halted cannot fork, so all of them are
/// halted before the first is killed.
pub(super) fn fell(spared: &HashSet<Pid>) -> HashSet<Pid> {
    let mut halted = HashSet::new();
    for _ in 0..MAX_ROUNDS {
        let found = Snapshot::take().descendants(getpid(), spared);
        let before = halted.len();
        for pid in found {
            if halted.insert(pid) {
                let _ = kill_process(pid, Signal::STOP);
            }
        }
        if halted.len() == before {
            break;
        }
    }
    for pid in &halted {
        let _ = kill_process(*pid, Signal::KILL);
    }
    halted
}

/// Takes the end of these, as far as they are children and have ended; their own children become ours.
pub(super) fn reap_these(pids: &HashSet<Pid>) {
    for pid in pids {
        let _ = waitpid(Some(*pid), WaitOptions::NOHANG);
    }
}

/// All processes and their parents at one moment.
#[derive(Debug, Default)]
struct Snapshot {
    children: HashMap<Pid, Vec<Pid>>,
}

impl Snapshot {
    fn take() -> Self {
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for pid in processes().unwrap_or_default() {
            if let Some(parent) =
                fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parent)
            {
                children.entry(parent).or_default().extend(Pid::from_raw(pid));
            }
        }
        Self { children }
    }

    fn descendants(&self, root: Pid, spared: &HashSet<Pid>) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut open = vec![root];
        while let Some(pid) = open.pop() {
            let children = self.children.get(&pid).into_iter().flatten();
            let children = children.filter(|child| !spared.contains(child));
            found.extend(children.clone());
            open.extend(children);
        }
        found
    }
}

fn processes() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The parent in the line of `/proc/PID/stat`. The name before it may contain anything.
fn parent(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(") ")?;
    Pid::from_raw(fields.split(' ').nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) S 3) R 1 (x) S 7 12 12 0"), Some(pid(7)));
        assert_eq!(parent("12 (sh) S 0 12"), None);
        assert_eq!(parent(""), None);
    }

    #[test]
    fn descendants_are_all_but_the_spared_and_theirs() {
        let children = HashMap::from([
            (pid(1), vec![pid(2), pid(3)]),
            (pid(2), vec![pid(4)]),
            (pid(3), vec![pid(5)]),
            (pid(9), vec![pid(10)]),
        ]);
        let snapshot = Snapshot { children };
        assert_eq!(snapshot.descendants(pid(1), &HashSet::from([pid(3)])), [pid(2), pid(4)]);
    }

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let parent = rustix::process::getppid().unwrap();
        assert!(Snapshot::take().descendants(parent, &HashSet::new()).contains(&getpid()));
    }
}
