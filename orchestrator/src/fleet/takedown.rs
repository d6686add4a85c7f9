//! Takes down what the cluster has on the engine besides its orchestrators.

use std::collections::BTreeSet;
use std::time::Duration;

use clb_engine::{Docker, EngineError, Role, Seen};
use clb_protocol::ContainerId;
use futures::StreamExt;
use tokio::time::{sleep, timeout};

/// How many containers are removed at once. One takes about 2 s, nearly all of it a wait for the kernel: 40 take
/// 23 s four at a time, 11 s eight at a time and 5 s together.
const AT_ONCE: usize = 64;
const REST: Duration = Duration::from_millis(500);
/// How many leftovers are named.
const NAMED: usize = 20;

/// What was not removed.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    containers: BTreeSet<String>,
    rest: Vec<String>,
}

impl Leftovers {
    /// All of it in a few words; `None` when nothing is left.
    pub(crate) fn told(&self) -> Option<String> {
        let all: Vec<&str> = self.containers.iter().chain(&self.rest).map(String::as_str).collect();
        let more = all.len().saturating_sub(NAMED);
        let named = all[more..].join(", ");
        match (all.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(named),
            (false, _) => Some(format!("{named} and {more} more")),
        }
    }
}

/// Removes every worker's container, whoever made it, and what they were made of; gives what is left when the
/// time is over.
pub(crate) async fn take_down(docker: &Docker, limit: Duration) -> Leftovers {
    let mut left = Leftovers {
        containers: BTreeSet::new(),
        rest: vec!["the volume of the worker's program".to_owned(), docker.inside_network()],
    };
    // What is left when the time is over stands there.
    drop(timeout(limit, remove_all(docker, &mut left)).await);
    left
}

async fn remove_all(docker: &Docker, left: &mut Leftovers) {
    let seen = match remove_containers(docker, left).await {
        Ok(seen) => seen,
        Err(error) => return left.rest.push(format!("its workers ({error})")),
    };
    let orchestrators = seen.into_iter().filter(|seen| matches!(seen.role, Role::Orchestrator(_)));
    let orchestrators: Vec<ContainerId> = orchestrators.map(|seen| seen.id).collect();
    let (volumes, network) =
        tokio::join!(docker.remove_program_volumes(), docker.remove_inside_network(&orchestrators));
    let kept = std::mem::take(&mut left.rest);
    for (what, removal) in kept.into_iter().zip([volumes, network]) {
        if let Err(error) = removal {
            left.rest.push(format!("{what} ({error})"));
        }
    }
}

/// Gives the rest of the engine's list once no container of a worker is on it, and none can come.
async fn remove_containers(docker: &Docker, left: &mut Leftovers) -> Result<Vec<Seen>, EngineError> {
    let mut is_last = false;
    loop {
        let seen = match docker.list().await {
            Err(EngineError::TimedOut) => continue,
            seen => seen?,
        };
        let is_worker = |seen: &&Seen| matches!(seen.role, Role::Worker(_) | Role::Carrier);
        let workers: Vec<&Seen> = seen.iter().filter(is_worker).collect();
        left.containers = workers.iter().map(|worker| worker.name.clone()).collect();
        if workers.is_empty() {
            if is_last {
                return Ok(seen);
            }
            docker.make_no_more().await;
            is_last = true;
            continue;
        }
        let removals = workers.iter().map(|it| async { (&it.name, docker.remove_forced(&it.id).await) });
        let mut removals = futures::stream::iter(removals).buffer_unordered(AT_ONCE);
        while let Some((name, removal)) = removals.next().await {
            match removal {
                Ok(()) => drop(left.containers.remove(name)),
                Err(error) => tracing::debug!("{name} could not be removed: {error}"),
            }
        }
        drop(removals);
        if !left.containers.is_empty() {
            sleep(REST).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_leftovers_are_named_and_many_are_counted() {
        assert_eq!(Leftovers::default().told(), None);
        let some = |count: usize| Leftovers {
            containers: (0..count).map(|no| format!("clb-worker-{no:03}")).collect(),
            rest: vec!["clb-inside".to_owned()],
        };
        assert_eq!(some(1).told().as_deref(), Some("clb-worker-000, clb-inside"));
        let many = some(50).told().unwrap();
        assert!(many.contains("clb-inside") && many.ends_with(" and 31 more"), "{many}");
    }
}
