//! What the end of a program comes to.

use std::time::Duration;

use clb_protocol::link::{Cause, Failure, Yield};
use clb_protocol::task::{Command, CommandResult, Exit, Output};
use rustix::process::{Signal, WaitStatus};
use serde_json::value::to_raw_value;

use super::memory::Memory;
use crate::run::command::StopGives;

/// What a shell says of a program that SIGKILL ended.
const KILLED_IN_SHELL: i32 = 137;
/// So many characters of the last line of standard error go into an error.
const LAST_LINE: usize = 200;

/// Everything that was seen of a program.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) exit: Option<Exit>,
    pub(super) stopped: Option<StopGives>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) duration: Duration,
    /// How many processes of this container the kernel had killed over its memory limit before.
    pub(super) kills_before: Option<u64>,
}

/// How a process that is no more has ended.
pub(super) fn exit(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

/// What the attempt gives.
pub(super) fn judge(command: &Command, memory: &Memory, seen: Seen) -> Yield {
    let Some(exit) = seen.exit else { return Yield::failed("nobody saw how its program ended") };
    let is_killed =
        matches!(exit, Exit::Code(KILLED_IN_SHELL)) || exit == Exit::Signal(Signal::KILL.as_raw());
    let is_oom = is_killed
        && seen.stopped.is_none()
        && seen.kills_before.is_some_and(|before| memory.kills() > Some(before));
    let oom = is_oom.then(|| memory.extent());
    let last_line = last_line(&seen.stderr);
    let result = CommandResult {
        exit,
        stdout: seen.stdout,
        stderr: seen.stderr,
        duration: seen.duration.as_secs_f64(),
        oom,
    };
    let result = match to_raw_value(&result) {
        Ok(result) => result,
        Err(error) => return Yield::failed(format!("its result cannot be written: {error}")),
    };
    match (seen.stopped, exit) {
        (Some(StopGives::Cancelled), _) => return Yield::Cancelled(Some(result)),
        (Some(StopGives::TimedOut), _) => return Yield::TimedOut(Some(result)),
        (None, Exit::Code(code)) if command.is_success(code) => return Yield::Succeeded(result),
        (None, _) => {}
    }
    let (cause, what) = match (oom, exit) {
        (Some(oom), _) => (Cause::Oom, out_of_memory(oom.peak_bytes, oom.limit_bytes)),
        (None, Exit::Code(code)) => (Cause::Exited(code), format!("exit code {code}")),
        (None, Exit::Signal(signal)) => (Cause::Killed(signal), killed_by(signal)),
    };
    let error = last_line.map_or_else(|| what.clone(), |line| format!("{what}: {line}"));
    Yield::Failed(Failure { cause, error, result: Some(result) })
}

fn out_of_memory(peak: Option<u64>, limit: Option<u64>) -> String {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let peak = peak.map(|peak| format!(", peak {}", mebibytes(peak))).unwrap_or_default();
    let limit = limit.map(|limit| format!(" of {}", mebibytes(limit))).unwrap_or_default();
    format!("killed by the kernel over the worker's memory limit{limit}{peak}")
}

fn killed_by(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("killed by signal {signal}"),
    };
    format!("killed by signal {signal} ({name})")
}

/// The last line that says something.
fn last_line(stderr: &Output) -> Option<String> {
    let last = stderr.bytes.rsplit(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let text = String::from_utf8_lossy(last.trim_ascii());
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut line: String = text.chars().take(LAST_LINE).map(clean).collect();
    if text.chars().nth(LAST_LINE).is_some() {
        line.push('…');
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_quoted_and_no_more() {
        let line = |text: &[u8]| last_line(&Output { bytes: text.to_vec(), truncated: None });
        assert_eq!(line(b"first\nsecond \xff\x1b\n \n"), Some("second \u{fffd}\u{fffd}".to_owned()));
        assert_eq!(line(b"\n\n"), None);
        assert_eq!(line(&[b'x'; 1_000]).unwrap().chars().count(), LAST_LINE + 1);
    }

    #[test]
    fn peak_and_limit_are_told_where_they_are_known() {
        let words = out_of_memory(Some(3 << 19), Some(1 << 20));
        assert_eq!(words, "killed by the kernel over the worker's memory limit of 1.0 MiB, peak 1.5 MiB");
        assert_eq!(out_of_memory(None, None), "killed by the kernel over the worker's memory limit");
    }
}
