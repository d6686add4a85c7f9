//! What tests expect of a cluster.

use clb_protocol::api::{ClusterView, Obituary, TaskState, TaskView, VerdictKind, WorkerState, WorkerView};
use clb_protocol::{ContainerId, Epoch, TaskId};

use super::{Cluster, setup};
use crate::engine::Container;
use crate::patience::{LONG, SOON, eventually};

impl Cluster {
    /// Waits until both orchestrators do their part.
    pub async fn has_two_orchestrators(&self) -> ClusterView {
        eventually("two orchestrators", LONG, async || {
            let view = self.try_view().await?;
            if setup::has_two_orchestrators(&view) { Ok(view) } else { Err(format!("{:?}", view.members)) }
        })
        .await
    }

    /// Waits for a term after this one.
    pub async fn is_led_after(&self, epoch: Epoch) -> ClusterView {
        eventually("a new term", SOON, async || {
            let view = self.try_view().await?;
            if view.epoch > epoch { Ok(view) } else { Err(format!("still epoch {epoch}")) }
        })
        .await
    }

    /// Waits until a task has ended.
    pub async fn end_of(&self, task: TaskId) -> TaskView {
        eventually("the task ends", LONG, async || {
            let view = self.try_wait_for(task).await?;
            if view.state.has_ended() { Ok(view) } else { Err(format!("it is {}", view.state.as_str())) }
        })
        .await
    }

    /// Waits until all tasks have succeeded with 3 + 4, then looks that each has one outcome and no more.
    pub async fn all_end_once(&self, tasks: &[TaskId]) -> Vec<TaskView> {
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(self.end_of(*task).await);
        }
        let outcomes = self.outcomes().await;
        assert!(outcomes.windows(2).all(|two| two[0].seq < two[1].seq), "outcomes are out of order");
        for view in &ended {
            assert_eq!(view.state, TaskState::Succeeded, "{view:?}");
            assert_eq!(view.result.as_ref().map(|result| result.get()), Some(r#"{"sum":7}"#));
            assert!(view.error.is_none() && view.finished_at.is_some(), "{view:?}");
            let recorded = outcomes.iter().filter(|outcome| outcome.task.id == view.id).count();
            assert_eq!(recorded, 1, "task {} stands in the outcomes {recorded} times", view.id);
        }
        ended
    }

    /// Waits until a task has succeeded with 3 + 4, then looks that it has one outcome and no more.
    pub async fn ends_once(&self, task: TaskId) -> TaskView {
        let mut ended = self.all_end_once(&[task]).await;
        ended.pop().expect("one task, one end")
    }

    /// Waits for the obituary of a worker.
    pub async fn obituary_of(&self, dead: &WorkerView) -> Obituary {
        let what = format!("an obituary of {} (generation {})", dead.name, dead.generation);
        eventually(&what, SOON, async || {
            let mut obituaries = self.obituaries().await;
            obituaries.retain(|it| it.worker == dead.name && it.generation == dead.generation);
            assert!(obituaries.len() < 2, "it died twice: {obituaries:?}");
            obituaries.pop().ok_or_else(|| "there is none".to_owned())
        })
        .await
    }

    /// Waits for the one that took the place of a worker: same name, slot and port, another container.
    pub async fn replacement_of(&self, dead: &WorkerView) -> WorkerView {
        let what = format!("a replacement of {} (generation {})", dead.name, dead.generation);
        let replacement = eventually(&what, LONG, async || {
            let workers = self.try_workers().await?;
            let states = super::ask::states(&workers);
            let found = workers.into_iter().find(|worker| {
                (&worker.name, worker.slot, worker.port) == (&dead.name, dead.slot, dead.port)
                    && worker.generation > dead.generation
                    && worker.state == WorkerState::Ready
            });
            found.ok_or(states)
        })
        .await;
        assert_ne!(replacement.container, dead.container);
        let container = self.container(&replacement.name).inspect().await;
        assert_eq!(Some(container.id.as_str()), replacement.container.as_ref().map(ContainerId::as_str));
        replacement
    }
}

/// Looks that a task that ended was run once and no more.
pub fn ran_once(task: &TaskView) {
    assert_eq!(task.attempts.len(), 1, "it was run again: {task:?}");
    assert_eq!(task.attempt.map(|attempt| attempt.0), Some(1), "{task:?}");
}

/// Which attempt of a task ran on a worker's container, and how it ended. The record tells workers by name,
/// so it is the first attempt there.
pub fn verdict_on(task: &TaskView, worker: &WorkerView) -> VerdictKind {
    let attempt = task.attempts.iter().find(|attempt| attempt.worker == worker.name);
    let attempt = attempt.unwrap_or_else(|| panic!("no attempt on {}: {task:?}", worker.name));
    attempt.verdict.as_ref().map_or_else(|| panic!("no verdict: {attempt:?}"), |verdict| verdict.kind)
}

/// A worker's container, by the id that the cluster tells.
pub fn container_of(worker: &WorkerView) -> Container {
    let id = worker.container.as_ref().unwrap_or_else(|| panic!("{} has no container", worker.name));
    Container::named(id.as_str())
}
