//! Standard output and standard error of programs that live long, in a way that holds nobody up.
//!
//! Whoever reads them may stop reading, and a process that writes then stands still once the pipe is full.
//! Here lines wait in a bounded buffer, and a thread that does nothing else writes them. What does not fit
//! is dropped and counted, and the count stands where the lines are missing.

mod panics;

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many bytes wait at most; as many again may be on their way.
const WAITING_BYTES: usize = 256 * 1024;
/// How often the thread looks for lines while some came a moment ago: to wake it takes whoever puts them longer than
/// to put them.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How often it looks in vain before it waits to be woken.
const LOOKS: u32 = 50;
/// How long the end of a program waits for what is left.
const FAREWELL: Duration = Duration::from_millis(500);
const STACK_BYTES: usize = 128 * 1024;

type Open = dyn Fn() -> Box<dyn Write> + Send + Sync;

/// A way out for whole lines. Clones share it.
#[derive(Clone)]
pub struct Outlet(Arc<Shared>);

struct Shared {
    open: Box<Open>,
    state: Mutex<State>,
    news: Condvar,
    all_written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_thread: bool,
    waiting: Vec<u8>,
    dropped_lines: usize,
    is_writing: bool,
    /// The thread waits to be told that there is something to write.
    is_idle: bool,
}

/// Waits for what is left when it is dropped, for half a second at most.
#[derive(Debug)]
#[must_use = "it waits when it is dropped"]
pub struct Farewell(Outlet);

impl Outlet {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::onto(|| Box::new(io::stdout()))
    }

    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::onto(|| Box::new(io::stderr()))
    }

    /// Its thread starts with the first line, so that a program that says nothing has none.
    fn onto(open: impl Fn() -> Box<dyn Write> + Send + Sync + 'static) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared {
            open: Box::new(open),
            state,
            news: Condvar::new(),
            all_written: Condvar::new(),
        }))
    }

    /// Hands over whole lines; never waits for whoever reads them.
    pub fn put(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        if !state.has_thread {
            state.has_thread = self.start_thread();
        }
        // After a gap nothing goes in before the gap is on record: the order is kept.
        if state.dropped_lines > 0 || state.waiting.len() + lines.len() > WAITING_BYTES {
            state.dropped_lines += lines.split_inclusive(|byte| *byte == b'\n').count();
        } else {
            state.waiting.extend_from_slice(lines);
        }
        let is_idle = mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.0.news.notify_one();
        }
    }

    /// For the whole life of a program: see [`Farewell`].
    pub fn farewell(&self) -> Farewell {
        Farewell(self.clone())
    }

    fn start_thread(&self) -> bool {
        let shared = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("outlet".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || shared.write_all()).is_ok()
    }
}

impl Shared {
    fn write_all(&self) {
        let mut to = (self.open)();
        let mut text = Vec::new();
        loop {
            self.take(&mut text);
            // An output that nobody reads any more is no reason to stop working.
            let _ = to.write_all(&text).and_then(|()| to.flush());
        }
    }

    /// Waits for something to write.
    fn take(&self, text: &mut Vec<u8>) {
        text.clear();
        let mut state = self.lock();
        state.is_writing = false;
        let mut looks = 0;
        while state.is_settled() {
            self.all_written.notify_all();
            if looks < LOOKS {
                looks += 1;
                drop(state);
                thread::sleep(LOOK_EVERY);
                state = self.lock();
            } else {
                state.is_idle = true;
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.is_writing = true;
        mem::swap(&mut state.waiting, text);
        let dropped = mem::take(&mut state.dropped_lines);
        drop(state);
        if dropped > 0 {
            let gap = format!("... {dropped} lines are missing here: nobody read this output for a while\n");
            text.extend_from_slice(gap.as_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is whole after every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.dropped_lines == 0 && !self.is_writing
    }
}

impl Write for Outlet {
    /// Each call brings whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outlet").field(&self.0.state).finish()
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let state = shared.lock();
        // Without a thread nobody would write what is left.
        let is_left = |state: &mut State| state.has_thread && !state.is_settled();
        let _ = shared.all_written.wait_timeout_while(state, FAREWELL, is_left);
    }
}

#[cfg(test)]
mod tests;
