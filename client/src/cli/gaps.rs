//! What of the outputs of a command the cluster did not keep.

use clb_client::OutputStream;
use clb_client::protocol::api::{TaskState, TaskView};
use clb_client::protocol::task::{CommandResult, Kind};

use super::output::remark;
use super::submit::result_of;
use crate::failure::{NOT_THE_COMMAND, OK};

/// The outputs of which something is missing, and how many bytes.
pub(super) fn gaps(result: &CommandResult) -> impl Iterator<Item = (&'static str, u64)> {
    let outputs = [(OutputStream::Stdout, &result.stdout), (OutputStream::Stderr, &result.stderr)];
    outputs.into_iter().filter_map(|(stream, output)| {
        output.truncated.as_ref().map(|gap| (name_of(stream), gap.dropped_bytes))
    })
}

/// Whether the result of an ended task has less than what it wrote.
pub(super) fn is_incomplete(task: &TaskView) -> bool {
    match result_of(task) {
        Some(result) => gaps(&result).next().is_some(),
        // A command that succeeded has a result: this one cannot be read.
        None => task.kind == Kind::Command && task.state == TaskState::Succeeded,
    }
}

/// The exit code for outputs that were printed, of which those of so many tasks have a gap; says so.
pub(super) fn code_of(incomplete: u64) -> u8 {
    if incomplete == 0 {
        return OK;
    }
    remark(format!("{incomplete} of the commands wrote more output than is kept"));
    NOT_THE_COMMAND
}

/// An output as a person calls it.
pub(super) fn name_of(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::Stdout => "standard output",
        OutputStream::Stderr => "standard error",
    }
}
