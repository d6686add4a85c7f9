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
    /// By their places; nothing for a line that is given up.
    early: BTreeMap<u64, Option<(Job, TaskView)>>,
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
        self.early.insert(job.place, Some((job, task)));
        self.go_on()
    }

    /// A line that is none to submit.
    pub(super) fn fail(&mut self, number: u64, detail: &str) {
        self.counts.failed += 1;
        remark(format!("line {number}: {}", safe(detail)));
    }

    /// A line that the cluster did not take.
    pub(super) fn give_up(&mut self, job: &Job, detail: &str) -> Result<(), Failure> {
        self.fail(job.number, detail);
        if !self.keeps_order {
            return Ok(());
        }
        self.early.insert(job.place, None);
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.early.remove(&self.next) {
            self.next += 1;
            if let Some((job, task)) = ended {
                self.print(&job, &task)?;
            }
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
