//! What this container uses of its CPUs and its memory, in the log once a second while it has work.
//!
//! Only for people: the leader places tasks by what the engine measures.

use std::fs;
use std::time::Duration;

use clb_protocol::{Timestamp, seed};
use sysinfo::System;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::journal::{Journal, Note};
use crate::worker::Desk;

const EVERY: Duration = Duration::from_secs(1);
/// The CPU time of the container's control group, by version 2 and 1 of the kernel's interface.
const CPU_STAT: &str = "/sys/fs/cgroup/cpu.stat";
const CPU_USAGE: &str = "/sys/fs/cgroup/cpuacct/cpuacct.usage";

/// Writes both lines once a second while tasks run or ended, until nobody answers at the desk.
pub(crate) async fn write_usage(desk: Desk, journal: Journal) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = 0;
    let mut before = (Instant::now(), cpu_time());
    loop {
        ticks.tick().await;
        let Ok(view) = desk.view().await else { return };
        let now = (Instant::now(), cpu_time());
        let has_work = !view.running.is_empty() || view.ended != ended;
        ended = view.ended;
        if has_work {
            let percent = cpu_percent(before, now);
            let lines = [percent.map(seed::cpu_usage), memory_percent().map(seed::memory_usage)];
            for line in lines.into_iter().flatten() {
                journal.note(Timestamp::now(), Note::Text(line.into()));
            }
        }
        before = now;
    }
}

fn cpu_percent(before: (Instant, Option<Duration>), now: (Instant, Option<Duration>)) -> Option<f64> {
    let used = now.1?.checked_sub(before.1?)?;
    let passed = now.0.duration_since(before.0);
    (!passed.is_zero()).then(|| used.as_secs_f64() / passed.as_secs_f64() * 100.0)
}

fn cpu_time() -> Option<Duration> {
    let from_stat = fs::read_to_string(CPU_STAT).ok().and_then(|text| usage_of(&text));
    from_stat.or_else(|| {
        let nanos = fs::read_to_string(CPU_USAGE).ok()?.trim().parse().ok()?;
        Some(Duration::from_nanos(nanos))
    })
}

fn usage_of(cpu_stat: &str) -> Option<Duration> {
    let micros = cpu_stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    micros.trim().parse().ok().map(Duration::from_micros)
}

fn memory_percent() -> Option<f64> {
    let limits = System::new().ok()?.cgroup_limits().filter(|limits| limits.total_memory > 0)?;
    let used = limits.total_memory.saturating_sub(limits.free_memory);
    Some(used as f64 / limits.total_memory as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_is_found_among_the_statistics() {
        let text = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n";
        assert_eq!(usage_of(text), Some(Duration::from_millis(1_500)));
        assert_eq!(usage_of("user_usec 1\n"), None);
    }

    #[test]
    fn half_a_core_for_a_second_is_fifty_percent() {
        let began = Instant::now();
        let before = (began, Some(Duration::from_secs(7)));
        let now = (began + EVERY, Some(Duration::from_millis(7_500)));
        assert!((cpu_percent(before, now).unwrap() - 50.0).abs() < 1e-6);
        assert_eq!(cpu_percent(before, before), None);
        assert_eq!(cpu_percent(now, before), None);
    }
}
