//! What is said of panics: what the standard library says of them, without holding up the thread.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use crate::Outlet;

impl Outlet {
    /// Writes the panics of this process here. They would wait for the reader of standard error otherwise.
    pub fn report_panics(&self) {
        let outlet = self.clone();
        panic::set_hook(Box::new(move |panic| outlet.put(describe(panic).as_bytes())));
    }
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        format!("thread '{thread}' panicked at {place}: {message}\n{backtrace}\n")
    } else {
        format!("thread '{thread}' panicked at {place}: {message}\n")
    }
}
