//! How far something long is, in a line on standard error; nothing when that is no terminal.

use std::fmt::Write;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::output::{safe, span};

const TICK: Duration = Duration::from_millis(200);
const SUBMITTED: &str = "{bar:30} {percent}% {msg}{left}";
const SUBMITTING: &str = "{spinner} {msg}";
const WAITING: &str = "{spinner} {msg} ({elapsed})";
const PRINTED: &str = "{spinner} {human_pos} printed{rate} ({elapsed})";
const ENDED: &str = "{bar:30} {human_pos} of {human_len} ended{rate}{left}";
/// A rate that is told by the minute, and one that is none, per second.
const SLOW: f64 = 0.1;
const NONE: f64 = 1.0 / 3_600.0;
const READING: &str = "{spinner} {human_pos} of {human_len} ended and more to come{rate}";

/// See the module. Clones are of the same line.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// Of bytes that are read and submitted.
    pub(super) fn of_submission(bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) => Self::new(ProgressBar::new(bytes), SUBMITTED),
            None => Self::new(ProgressBar::new_spinner(), SUBMITTING),
        }
    }

    /// Of tasks that end.
    pub(super) fn of_tasks(total: u64) -> Self {
        Self::new(ProgressBar::new(total), ENDED)
    }

    /// Of tasks that end while others are still found.
    pub(super) fn of_tasks_so_far() -> Self {
        Self::new(ProgressBar::new(0), READING)
    }

    /// Of something of which nobody knows how long it takes.
    pub(super) fn of_waiting() -> Self {
        Self::new(ProgressBar::new_spinner(), WAITING)
    }

    /// Of lines that are printed; they show themselves where they go to a terminal.
    pub(super) fn of_lines() -> Self {
        let is_seen = std::io::stdout().is_terminal();
        Self::new(if is_seen { ProgressBar::hidden() } else { ProgressBar::no_length() }, PRINTED)
    }

    /// Says what is done for as long as it takes.
    pub(super) async fn during<T>(text: &str, work: impl Future<Output = T>) -> T {
        let progress = Self::of_waiting();
        progress.say(text);
        let done = work.await;
        progress.finish();
        done
    }

    fn new(bar: ProgressBar, template: &str) -> Self {
        bar.set_style(style(template));
        bar.enable_steady_tick(TICK);
        Self { bar, begun: Instant::now() }
    }

    /// Whether nobody sees it.
    pub(super) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// So much more is done.
    pub(super) fn advance(&self, more: u64) {
        self.bar.inc(more);
    }

    /// So much more is to be done.
    pub(super) fn extend(&self, more: u64) {
        self.bar.inc_length(more);
    }

    /// All that is to be done is known.
    pub(super) fn know_all(&self) {
        self.bar.set_style(style(ENDED));
    }

    pub(super) fn submitted(&self, tasks: u64) {
        let rate = tasks as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{tasks} tasks submitted, {rate:.0}/s"));
    }

    pub(super) fn say(&self, text: &str) {
        self.bar.set_message(safe(text));
    }

    /// Writes something beside the bar.
    pub(super) fn suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar that is not styled is better than none.
fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        // What cannot be written is not shown.
        let _ = text.write_str(&rate(state.per_sec()));
    };
    let left = |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&left(state.per_sec(), state.eta()));
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
        .with_key("left", left)
}

/// How long it goes on at that rate; nobody knows while nothing is done.
fn left(per_second: f64, left: Duration) -> String {
    if per_second < NONE { String::new() } else { format!(", {} left", span(left)) }
}

fn rate(per_second: f64) -> String {
    match per_second {
        NONE..SLOW => format!(", {:.1}/min", per_second * 60.0),
        SLOW.. => format!(", {per_second:.1}/s"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_what_is_left_while_nothing_is_done() {
        assert_eq!((rate(0.0).as_str(), left(0.0, Duration::ZERO).as_str()), ("", ""));
        assert_eq!((rate(1e-9).as_str(), left(1e-9, Duration::MAX).as_str()), ("", ""));
        assert_eq!(
            (rate(0.05).as_str(), left(0.05, Duration::from_mins(3)).as_str()),
            (", 3.0/min", ", 3m left")
        );
        assert_eq!(
            (rate(2.0).as_str(), left(2.0, Duration::from_secs(90)).as_str()),
            (", 2.0/s", ", 90s left")
        );
    }

    #[test]
    fn every_template_can_be_read() {
        for template in [SUBMITTED, SUBMITTING, WAITING, PRINTED, ENDED, READING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
