//! Why a task has no success, on one line.

use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::task::{CommandResult, Exit, Output};

use super::output::{memory, safe};
use super::submit::result_of;

/// `None` of a task that succeeded, or that has not ended.
pub(super) fn reason(task: &TaskView) -> Option<String> {
    if !matches!(task.state, TaskState::Failed | TaskState::Cancelled) {
        return None;
    }
    let error = task.error.as_ref();
    let message = || error.map_or_else(String::new, |error| safe(&error.message));
    let result = result_of(task).filter(|_| task.state == TaskState::Failed);
    Some(result.map_or_else(message, |result| {
        let end = end(&result, error.is_some_and(|error| error.code == "timed_out"));
        match last_line(&result.stderr) {
            Some(said) => format!("{end}: {said}"),
            None => end,
        }
    }))
}

fn end(result: &CommandResult, is_late: bool) -> String {
    let exit = match result.exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    match &result.oom {
        Some(oom) => {
            let limit = oom.limit_bytes.map(|limit| format!(" of {}", memory(limit))).unwrap_or_default();
            format!("out of memory{limit}, {exit}")
        }
        None if is_late => format!("timed out after {:.1} s, {exit}", result.duration),
        None => exit,
    }
}

/// The last line in which something stands.
fn last_line(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.bytes);
    text.lines().rev().map(|line| safe(line.trim())).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use clb_client::protocol::task::OutOfMemory;

    use super::*;

    #[test]
    fn an_end_is_told_with_what_led_to_it() {
        let mut result = CommandResult {
            exit: Exit::Code(137),
            stdout: Output::default(),
            stderr: Output { bytes: b"first\n last \n\n".to_vec(), truncated: None },
            duration: 5.04,
            oom: None,
        };
        assert_eq!(end(&result, false), "exit 137");
        assert_eq!(last_line(&result.stderr).as_deref(), Some("last"));
        result.oom = Some(OutOfMemory { peak_bytes: None, limit_bytes: Some(64 << 20) });
        assert_eq!(end(&result, false), "out of memory of 64.0 MiB, exit 137");
        (result.oom, result.exit) = (None, Exit::Signal(15));
        assert_eq!(end(&result, true), "timed out after 5.0 s, signal 15");
        assert_eq!(last_line(&Output { bytes: b"\n \n".to_vec(), truncated: None }), None);
    }
}
