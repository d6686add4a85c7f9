//! The bar that shows how far a batch is; nothing when no terminal is there.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// See the module.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// Of bytes that are read and submitted.
    pub(super) fn of_submission(bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) => Self::new(ProgressBar::new(bytes), "{bar:30} {percent}% {msg}, {eta} left"),
            None => Self::new(ProgressBar::new_spinner(), "{spinner} {msg}"),
        }
    }

    /// Of tasks that end.
    pub(super) fn of_tasks(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        Self::new(bar, "{bar:30} {human_pos} of {human_len} ended, {per_sec}, {eta} left")
    }

    fn new(bar: ProgressBar, template: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, begun: Instant::now() }
    }

    pub(super) fn read(&self, more: u64) {
        self.bar.inc(more);
    }

    pub(super) fn submitted(&self, tasks: u64) {
        let rate = tasks as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{tasks} tasks submitted, {rate:.0}/s"));
    }

    pub(super) fn say(&self, text: &'static str) {
        self.bar.set_message(text);
    }

    /// Writes something beside the bar.
    pub(super) fn suspended(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
