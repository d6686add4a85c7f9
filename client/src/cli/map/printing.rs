//! Printing what the commands wrote, as they end or in the order of the lines.

use std::collections::BTreeMap;
use std::io::Write as _;

use clb_client::protocol::api::{TaskState, TaskView};
use serde::Serialize;

use super::super::output::{Printer, json_line, remark, safe, write};
use super::super::submit::result_of;
use super::Job;
use crate::failure::Failure;

/// How the commands ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

#[derive(Serialize)]
struct Mapped<'a> {
    line: u64,
    input: &'a str,
    task: &'a TaskView,
}

/// See the module.
pub(super) struct Printing {
    printer: Printer,
    keeps_order: bool,
    next: u64,
    early: BTreeMap<u64, (Job, TaskView)>,
    pub(super) counts: Counts,
}

impl Printing {
    pub(super) fn new(printer: Printer, keeps_order: bool) -> Self {
        Self { printer, keeps_order, next: 0, early: BTreeMap::new(), counts: Counts::default() }
    }

    /// How many wait for one before them.
    pub(super) fn held(&self) -> usize {
        self.early.len()
    }

    pub(super) fn take(&mut self, job: Job, task: TaskView) -> Result<(), Failure> {
        if !self.keeps_order {
            return self.print(&job, &task);
        }
        self.early.insert(job.place, (job, task));
        while let Some((job, task)) = self.early.remove(&self.next) {
            self.next += 1;
            self.print(&job, &task)?;
        }
        Ok(())
    }

    fn print(&mut self, job: &Job, task: &TaskView) -> Result<(), Failure> {
        if task.state == TaskState::Succeeded {
            self.counts.succeeded += 1;
        } else {
            self.counts.failed += 1;
        }
        if self.printer.is_json {
            return json_line(&Mapped { line: job.number, input: &job.input, task });
        }
        if let Some(result) = result_of(task) {
            write(&result.stdout.bytes)?;
            std::io::stderr().lock().write_all(&result.stderr.bytes)?;
            for truncated in
                [&result.stdout, &result.stderr].iter().filter_map(|output| output.truncated.as_ref())
            {
                remark(format!(
                    "line {}: {} bytes of output are missing",
                    job.number, truncated.dropped_bytes
                ));
            }
        }
        if task.state != TaskState::Succeeded {
            let why = task.error.as_ref().map_or(task.state.as_str(), |error| &error.message);
            remark(format!("line {} ({}): {}; task {}", job.number, safe(&job.input), safe(why), task.id));
        }
        Ok(())
    }
}
