//! What the end of a program comes to.

use std::time::Duration;

use clb_protocol::link::{Cause, Failure, Yield};
use clb_protocol::task::{Command, CommandResult, Exit, OutOfMemory, Output};
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
    /// Whether the kernel killed a process over the memory limit that was, or may have been, the program's.
    pub(super) is_over_limit: bool,
}

/// How a process that is no more has ended.
pub(super) fn exit(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

/// What the attempt gives.
pub(super) fn judge(command: &Command, memory: &Memory, seen: Seen) -> Yield {
    let Some(exit) = seen.exit else { return Yield::failed("the exit status of its program is unknown") };
    let is_success = matches!(exit, Exit::Code(code) if command.is_success(code));
    let is_oom = !is_success && seen.stopped.is_none() && seen.is_over_limit;
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
        (None, _) if is_success => return Yield::Succeeded(result),
        (None, _) => {}
    }
    let (cause, what) = match exit {
        Exit::Code(code) => (Cause::Exited(code), format!("exit code {code}")),
        Exit::Signal(signal) => (Cause::Killed(signal), killed_by(signal)),
    };
    let (cause, what) = match oom {
        Some(oom) if was_killed(exit) => (Cause::Oom, format!("killed by the kernel {}", over(oom))),
        Some(oom) => (Cause::Oom, format!("{what}, after the kernel killed a process {}", over(oom))),
        None => (cause, what),
    };
    let error = last_line.map_or_else(|| what.clone(), |line| format!("{what}: {line}"));
    Yield::Failed(Failure { cause, error, result: Some(result) })
}

/// Whether SIGKILL ended it, or it says so of what it ran.
pub(super) fn was_killed(exit: Exit) -> bool {
    matches!(exit, Exit::Code(KILLED_IN_SHELL)) || exit == Exit::Signal(Signal::KILL.as_raw())
}

fn over(memory: OutOfMemory) -> String {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let peak = memory.peak_bytes.map(|peak| format!(", peak {}", mebibytes(peak))).unwrap_or_default();
    let limit = memory.limit_bytes.map(|limit| format!(" of {}", mebibytes(limit))).unwrap_or_default();
    format!("over the worker's memory limit{limit}{peak}")
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
    use clb_protocol::task::Argv;
    use serde_json::value::RawValue;

    use super::*;
    use crate::run::command::shepherd::memory::tests::container_with_kills;

    #[test]
    fn the_last_line_that_says_something_is_quoted_and_no_more() {
        let line = |text: &[u8]| last_line(&Output { bytes: text.to_vec(), truncated: None });
        assert_eq!(line(b"first\nsecond \xff\x1b\n \n"), Some("second \u{fffd}\u{fffd}".to_owned()));
        assert_eq!(line(b"\n\n"), None);
        assert_eq!(line(&[b'x'; 1_000]).unwrap().chars().count(), LAST_LINE + 1);
    }

    #[test]
    fn peak_and_limit_are_told_where_they_are_known() {
        let all = OutOfMemory { peak_bytes: Some(3 << 19), limit_bytes: Some(1 << 20) };
        assert_eq!(over(all), "over the worker's memory limit of 1.0 MiB, peak 1.5 MiB");
        let nothing = OutOfMemory { peak_bytes: None, limit_bytes: None };
        assert_eq!(over(nothing), "over the worker's memory limit");
    }

    /// The cause and the words of a program that ends in a container, of which a process may have been killed.
    fn verdict(exit: Exit, is_over_limit: bool, stopped: Option<StopGives>) -> Option<(Cause, String)> {
        let (_folder, memory) = container_with_kills(3);
        let nothing = || Output { bytes: Vec::new(), truncated: None };
        let seen = Seen {
            exit: Some(exit),
            stopped,
            stdout: nothing(),
            stderr: nothing(),
            duration: Duration::ZERO,
            is_over_limit,
        };
        let oom = |result: &RawValue| serde_json::from_str::<CommandResult>(result.get()).unwrap().oom;
        match judge(&Command::new(Argv::new::<&str>("true", [])), &memory, seen) {
            Yield::Succeeded(result) | Yield::TimedOut(Some(result)) => {
                assert_eq!(oom(&result), None);
                None
            }
            Yield::Failed(Failure { cause, error, result }) => {
                let extent = (cause == Cause::Oom).then(|| memory.extent());
                assert_eq!(oom(&result.unwrap()), extent);
                Some((cause, error))
            }
            gave => panic!("{gave:?}"),
        }
    }

    #[test]
    fn a_failure_is_out_of_memory_when_the_kernel_killed_anything_meanwhile() {
        let over = "over the worker's memory limit of 1.0 MiB, peak 1.0 MiB";
        let itself = Some((Cause::Oom, format!("killed by the kernel {over}")));
        for exit in [Exit::Signal(9), Exit::Code(137)] {
            assert_eq!(verdict(exit, true, None), itself);
        }
        for (exit, what) in
            [(Exit::Code(2), "exit code 2"), (Exit::Signal(6), "killed by signal 6 (SIGABRT)")]
        {
            let words = format!("{what}, after the kernel killed a process {over}");
            assert_eq!(verdict(exit, true, None), Some((Cause::Oom, words)));
        }
    }

    #[test]
    fn nothing_is_out_of_memory_that_succeeded_or_was_stopped_or_saw_nobody_killed() {
        assert_eq!(verdict(Exit::Code(0), true, None), None);
        assert_eq!(verdict(Exit::Code(1), true, Some(StopGives::TimedOut)), None);
        assert_eq!(verdict(Exit::Code(2), false, None), Some((Cause::Exited(2), "exit code 2".to_owned())));
        let killed = Some((Cause::Killed(9), "killed by signal 9 (SIGKILL)".to_owned()));
        assert_eq!(verdict(Exit::Signal(9), false, None), killed);
    }
}
