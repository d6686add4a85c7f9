//! What the kernel says of the memory of this container: the cgroup's files, version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

use clb_protocol::task::OutOfMemory;

use crate::run::command::Kill;

const ROOT: &str = "/sys/fs/cgroup";

/// The files of one memory cgroup.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    events: PathBuf,
    peak: PathBuf,
    limit: PathBuf,
}

impl Memory {
    /// That of this process.
    pub(super) fn find() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::below(Path::new(ROOT), &own)
    }

    /// Inside a container its own cgroup is the root, whatever path the kernel names.
    fn below(root: &Path, own: &str) -> Self {
        let is_v2 = root.join("cgroup.controllers").exists();
        let root = if is_v2 { root.to_owned() } else { root.join("memory") };
        let named = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it =
                if is_v2 { controllers.is_empty() } else { controllers.split(',').any(|it| it == "memory") };
            is_it.then(|| root.join(path.trim_start_matches('/')))
        });
        let folder = named.filter(|folder| folder.is_dir()).unwrap_or(root);
        let [events, peak, limit] = if is_v2 {
            ["memory.events", "memory.peak", "memory.max"]
        } else {
            ["memory.oom_control", "memory.max_usage_in_bytes", "memory.limit_in_bytes"]
        };
        Self { events: folder.join(events), peak: folder.join(peak), limit: folder.join(limit) }
    }

    /// How many processes were killed over the limit so far, where that is known.
    pub(super) fn kills(&self) -> Option<u64> {
        let events = fs::read_to_string(&self.events).ok()?;
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// The peak and the limit.
    pub(super) fn extent(&self) -> OutOfMemory {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok();
        OutOfMemory { peak_bytes: number(&self.peak), limit_bytes: number(&self.limit) }
    }
}

/// Whom the kernel killed over the limit while a program ran: it counts them for the whole container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kills {
    /// How many there were before; `None` where nobody counts.
    before: Option<u64>,
    /// How many since were a neighbour's.
    explained: u64,
    /// Whether a process of this program was killed.
    pub(super) has_lost_one: bool,
    is_claimed: bool,
}

impl Kills {
    /// None so far.
    pub(super) fn since(memory: &Memory) -> Self {
        Self { before: memory.kills(), explained: 0, has_lost_one: false, is_claimed: false }
    }

    fn count(&self, memory: &Memory) -> u64 {
        memory.kills().zip(self.before).map_or(0, |(now, before)| now.saturating_sub(before))
    }

    /// A neighbour says that it was one of its.
    pub(super) fn explain(&mut self, kill: Kill) {
        if self.before.is_some_and(|before| kill.kills > before) {
            self.explained += 1;
        }
    }

    /// What the neighbours are to be told, once.
    pub(super) fn claim(&mut self, memory: &Memory) -> Option<Kill> {
        if self.is_claimed || !self.has_lost_one || self.count(memory) == 0 {
            return None;
        }
        self.is_claimed = true;
        memory.kills().map(|kills| Kill { kills })
    }

    /// Whether any of them was, or may have been, a process of this program: one whose parent has taken its end is
    /// seen by nobody else.
    pub(super) fn concern(&self, memory: &Memory) -> bool {
        let count = self.count(memory);
        count > 0 && (self.has_lost_one || count > self.explained)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(in super::super) fn container_with_kills(kills: u64) -> (tempfile::TempDir, Memory) {
        let folder = folder(&[
            ("cgroup.controllers", "cpu memory\n"),
            ("memory.events", &format!("oom_kill {kills}\n")),
            ("memory.peak", "1048576\n"),
            ("memory.max", "1048576\n"),
        ]);
        let memory = Memory::below(folder.path(), "0::/\n");
        (folder, memory)
    }

    #[test]
    fn a_kill_is_of_whoever_lost_a_process_and_otherwise_of_everybody_who_may_have() {
        let (_folder, memory) = container_with_kills(3);
        let of =
            |before| Kills { before: Some(before), explained: 0, has_lost_one: false, is_claimed: false };
        assert!(!of(3).concern(&memory), "none since");
        assert!(of(2).concern(&memory), "one, of nobody knows whom");
        let mut excused = of(2);
        excused.explain(Kill { kills: 3 });
        assert!(!excused.concern(&memory) && excused.claim(&memory).is_none());
        let mut of_two = of(1);
        of_two.explain(Kill { kills: 3 });
        assert!(of_two.concern(&memory), "a second one is not explained");
        let mut late = of(2);
        late.explain(Kill { kills: 2 });
        assert!(late.concern(&memory), "that one was before it began");
        let mut victim = of(2);
        (victim.has_lost_one, victim.explained) = (true, 1);
        assert!(victim.concern(&memory), "its own end is proof");
        assert_eq!(victim.claim(&memory), Some(Kill { kills: 3 }));
        assert_eq!(victim.claim(&memory), None, "it is said once");
        let mut killed_otherwise = of(3);
        killed_otherwise.has_lost_one = true;
        assert!(killed_otherwise.claim(&memory).is_none() && !killed_otherwise.concern(&memory));
    }

    #[test]
    fn version_two_inside_a_container() {
        let folder = folder(&[
            ("cgroup.controllers", "cpu memory\n"),
            ("memory.events", "low 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n"),
            ("memory.peak", "1048576\n"),
            ("memory.max", "max\n"),
        ]);
        let memory = Memory::below(folder.path(), "0::/\n");
        assert_eq!(memory.kills(), Some(3));
        assert_eq!(memory.extent(), OutOfMemory { peak_bytes: Some(1_048_576), limit_bytes: None });
    }

    #[test]
    fn version_one_inside_a_container_whose_path_is_the_hosts() {
        let folder = folder(&[
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ("memory/memory.max_usage_in_bytes", "100\n"),
            ("memory/memory.limit_in_bytes", "200\n"),
        ]);
        let memory = Memory::below(folder.path(), "4:memory:/docker/abc\n0::/\n");
        assert_eq!(memory.kills(), Some(2));
        assert_eq!(memory.extent(), OutOfMemory { peak_bytes: Some(100), limit_bytes: Some(200) });
    }

    #[test]
    fn outside_of_a_container_the_named_cgroup_counts() {
        let folder = folder(&[
            ("memory/memory.oom_control", "oom_kill 9\n"),
            ("memory/a/b/memory.oom_control", "oom_kill 1\n"),
        ]);
        assert_eq!(Memory::below(folder.path(), "5:cpu:/\n4:hugetlb,memory:/a/b\n").kills(), Some(1));
        assert_eq!(Memory::below(Path::new("/nowhere"), "").kills(), None);
    }
}
