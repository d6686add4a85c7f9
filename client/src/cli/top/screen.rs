//! What the screen knows: the last look at the cluster and the one before.

use std::time::Instant;

use clb_client::protocol::api::{ClusterView, PoolView, TaskCounts, TaskView, WorkerView};

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cluster: ClusterView,
    pub(super) workers: Vec<WorkerView>,
    pub(super) pools: Vec<PoolView>,
    pub(super) running: Vec<TaskView>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    sample: Option<Sample>,
    before: Option<(Instant, TaskCounts)>,
    error: Option<String>,
    is_paused: bool,
    first_task: usize,
}

impl Screen {
    pub(super) fn take(&mut self, looked: Result<Sample, String>) {
        match looked {
            Ok(sample) => {
                let former = self.sample.replace(sample);
                self.before = former.map(|former| (former.at, former.cluster.tasks));
                self.error = None;
                self.scroll(0);
            }
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn pause_or_go_on(&mut self) {
        self.is_paused = !self.is_paused;
    }

    /// Moves the list of running tasks; it stops at both ends.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.sample.as_ref().map_or(0, |sample| sample.running.len().saturating_sub(1));
        self.first_task = self.first_task.saturating_add_signed(by).min(last);
    }

    /// Tasks that ended in a second, between the last two looks.
    pub(super) fn ended_per_second(&self) -> Option<f64> {
        let (sample, (at, before)) = (self.sample.as_ref()?, self.before?);
        let seconds = sample.at.saturating_duration_since(at).as_secs_f64();
        let ended = |tasks: TaskCounts| tasks.succeeded + tasks.failed + tasks.cancelled;
        let more = ended(sample.cluster.tasks).saturating_sub(ended(before));
        (seconds > 0.0).then(|| more as f64 / seconds)
    }

    pub(super) fn sample(&self) -> Option<&Sample> {
        self.sample.as_ref()
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn first_task(&self) -> usize {
        self.first_task
    }
}
