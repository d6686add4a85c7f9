//! What a container uses, computed as the Docker CLI does on both versions of cgroups.

use bollard::models::{ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use clb_protocol::ContainerId;
use clb_protocol::api::Usage;
use futures::{Stream, StreamExt, stream};

use crate::{Docker, names};

impl Docker {
    /// A sample a second. The engine measures once a second whatever is asked, so hold one stream per
    /// container. It is silent while the container does not run, and ends when that is removed, when the
    /// engine goes away and when a sample cannot be read.
    pub fn usage(&self, id: &ContainerId) -> impl Stream<Item = Usage> + Send + use<> {
        let options = StatsOptionsBuilder::default().stream(true).build();
        let samples = names::container(id.as_str()).ok().map(|id| self.quick.stats(id, Some(options)));
        stream::iter(samples)
            .flatten()
            .take_while(|sample| std::future::ready(sample.is_ok()))
            .filter_map(|sample| std::future::ready(sample.ok().as_ref().and_then(usage)))
    }
}

/// `None` for the first sample, which has nothing to compare with, and for the sample of zeros that the
/// engine gives of a container that does not run.
fn usage(sample: &ContainerStatsResponse) -> Option<Usage> {
    let at = crate::container::moment(sample.read.as_deref()?)?;
    Some(Usage {
        at,
        cpu_percent: cpu_percent(sample.cpu_stats.as_ref()?, sample.precpu_stats.as_ref()?)?,
        memory_bytes: memory_bytes(sample.memory_stats.as_ref()?)?,
        memory_limit_bytes: sample.memory_stats.as_ref()?.limit.unwrap_or(0),
    })
}

/// The share of the machine's CPU time since the last sample, 100 for each core.
fn cpu_percent(now: &ContainerCpuStats, before: &ContainerCpuStats) -> Option<f64> {
    let total = |stats: &ContainerCpuStats| stats.cpu_usage.as_ref()?.total_usage;
    let machine_before = before.system_cpu_usage.filter(|usage| *usage > 0)?;
    let machine = now.system_cpu_usage?.checked_sub(machine_before).filter(|delta| *delta > 0)?;
    let container = total(now)?.saturating_sub(total(before).unwrap_or(0));
    Some(container as f64 / machine as f64 * online_cpus(now) * 100.0)
}

/// Old engines do not say it and list every CPU's usage instead; version 2 of cgroups has no such list.
fn online_cpus(stats: &ContainerCpuStats) -> f64 {
    let listed = || stats.cpu_usage.as_ref()?.percpu_usage.as_ref().map(Vec::len).filter(|cpus| *cpus > 0);
    match stats.online_cpus.filter(|cpus| *cpus > 0) {
        Some(cpus) => f64::from(cpus),
        None => listed().unwrap_or(1) as f64,
    }
}

/// Without the page cache that can be dropped, which the versions of cgroups name differently.
fn memory_bytes(stats: &ContainerMemoryStats) -> Option<u64> {
    let used = stats.usage?;
    let details = stats.stats.as_ref();
    let cache = details.and_then(|all| all.get("total_inactive_file").or_else(|| all.get("inactive_file")));
    Some(cache.filter(|cache| **cache < used).map_or(used, |cache| used - cache))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: &str) -> Option<Usage> {
        usage(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_sample_of_cgroup_v1_is_read() {
        let usage = sample(
            r#"{"read": "2026-01-02T03:04:05.5Z",
                "cpu_stats": {"cpu_usage": {"total_usage": 1500, "percpu_usage": [700, 800]},
                              "system_cpu_usage": 12000, "online_cpus": 2},
                "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 10000},
                "memory_stats": {"usage": 900, "limit": 4000,
                                 "stats": {"total_inactive_file": 300, "inactive_file": 5}}}"#,
        )
        .unwrap();
        assert!((usage.cpu_percent - 50.0).abs() < 1e-9);
        assert_eq!((usage.memory_bytes, usage.memory_limit_bytes), (600, 4000));
        assert_eq!(usage.at.to_string(), "2026-01-02T03:04:05.500000Z");
    }

    #[test]
    fn a_sample_of_cgroup_v2_is_read() {
        let usage = sample(
            r#"{"read": "2026-01-02T03:04:05Z",
                "cpu_stats": {"cpu_usage": {"total_usage": 2000}, "system_cpu_usage": 12000, "online_cpus": 4},
                "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 10000},
                "memory_stats": {"usage": 900, "limit": 4000, "stats": {"inactive_file": 100}}}"#,
        )
        .unwrap();
        assert!((usage.cpu_percent - 200.0).abs() < 1e-9);
        assert_eq!(usage.memory_bytes, 800);
    }

    #[test]
    fn the_cpus_are_counted_where_the_engine_does_not_say_them() {
        let stats = |json: &str| serde_json::from_str::<ContainerCpuStats>(json).unwrap();
        assert!((online_cpus(&stats(r#"{"cpu_usage": {"percpu_usage": [1, 2, 3]}}"#)) - 3.0).abs() < 1e-9);
        assert!((online_cpus(&stats(r#"{"cpu_usage": {}}"#)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn cache_that_exceeds_the_use_is_left_in() {
        let stats = |json: &str| serde_json::from_str::<ContainerMemoryStats>(json).unwrap();
        assert_eq!(memory_bytes(&stats(r#"{"usage": 10, "stats": {"inactive_file": 20}}"#)), Some(10));
        assert_eq!(memory_bytes(&stats(r#"{"usage": 10}"#)), Some(10));
        assert_eq!(memory_bytes(&stats("{}")), None);
    }

    #[test]
    fn the_zeros_of_a_stopped_container_are_no_sample() {
        let zeros = r#"{"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}},
                        "precpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}"#;
        assert_eq!(sample(zeros), None);
    }

    #[test]
    fn the_first_sample_has_nothing_to_compare_with() {
        let first = r#"{"read": "2026-01-02T03:04:05Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 9, "online_cpus": 1},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {"usage": 1}}"#;
        assert_eq!(sample(first), None);
    }
}
