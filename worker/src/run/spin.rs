//! Burning a core: one thread for each attempt, so that nothing else of the worker waits for it.

use std::any::Any;
use std::hint::{black_box, spin_loop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clb_protocol::link::Yield;
use tokio::sync::mpsc;

use super::{AttemptKey, Ended, Told};

/// It holds a few frames and the text of a panic.
const STACK_BYTES: usize = 128 * 1024;
/// Turns between two looks at the clock and the flag: some ten microseconds.
const TURNS: u32 = 2_000;

/// Ends the thread of an attempt when it is dropped.
#[derive(Debug)]
pub(crate) struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An attempt that waits for its thread.
#[derive(Debug)]
pub(crate) struct Burner {
    key: AttemptKey,
    span: Duration,
    gives: Yield,
    stopped: Arc<AtomicBool>,
}

impl Burner {
    /// Prepares to burn a core for `span` and to give `gives`; nothing runs yet.
    pub(crate) fn new(key: AttemptKey, span: Duration, gives: Yield) -> (Self, StopOnDrop) {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = StopOnDrop(Arc::clone(&stopped));
        (Self { key, span, gives, stopped }, stop)
    }

    /// Starts the thread; its end is sent to `told`, unless it was stopped.
    pub(crate) fn start(self, told: &mpsc::UnboundedSender<Told>) {
        let key = self.key;
        let tell = told.clone();
        let started =
            thread::Builder::new().name("spin".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                if let Some(gave) = guard(|| self.burn()) {
                    // Nobody listens any more when the process is ending.
                    let _ = tell.send(Told::Ended(Ended { key, gave }));
                }
            });
        if let Err(error) = started {
            let gave = Yield::failed(format!("the worker could not start a thread for it: {error}"));
            let _ = told.send(Told::Ended(Ended { key, gave }));
        }
    }

    fn burn(self) -> Option<Yield> {
        let began = Instant::now();
        while began.elapsed() < self.span {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            for turn in 0..TURNS {
                spin_loop();
                black_box(turn);
            }
        }
        Some(self.gives)
    }
}

/// A panic of a runner is a failure of its attempt and of nothing else.
fn guard(runner: impl FnOnce() -> Option<Yield>) -> Option<Yield> {
    catch_unwind(AssertUnwindSafe(runner))
        .unwrap_or_else(|panic| Some(Yield::failed(format!("the runner panicked: {}", text(&*panic)))))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_protocol::{AttemptNo, TaskId};

    fn key() -> AttemptKey {
        (TaskId::now(), AttemptNo(1))
    }

    #[test]
    fn a_thread_burns_its_time_and_tells_its_end() {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let key = key();
        let (burner, _stop) = Burner::new(key, Duration::from_millis(5), Yield::failed("done"));
        let began = Instant::now();
        burner.start(&tell);
        let Some(Told::Ended(end)) = ended.blocking_recv() else { panic!("it told nothing") };
        assert_eq!(end.key, key);
        assert!(matches!(end.gave, Yield::Failed(why) if why.error == "done"));
        assert!(began.elapsed() >= Duration::from_millis(5));
    }

    #[test]
    fn a_dropped_guard_ends_the_thread_without_a_result() {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let (burner, stop) = Burner::new(key(), Duration::from_hours(1), Yield::TimedOut(None));
        burner.start(&tell);
        drop((stop, tell));
        assert!(ended.blocking_recv().is_none(), "the thread lets go of the channel without a word");
    }

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        let gave = guard(|| panic!("no {}", "luck"));
        assert!(matches!(gave, Some(Yield::Failed(why)) if why.error == "the runner panicked: no luck"));
    }
}
