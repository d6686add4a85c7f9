//! Printing what the commands wrote, as they end or in the order of the lines.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write as _;

use clb_client::protocol::api::{TaskState, TaskView};
use serde::Serialize;

use super::super::gaps::{gaps, is_incomplete};
use super::super::output::{Printer, json_line, remark, safe, write};
use super::super::submit::result_of;
use super::Job;
use super::joblog::Joblog;
use crate::failure::{Failure, NOT_THE_COMMAND, OK, SOME_FAILED};

/// How the commands ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Of them, those whose outputs were not passed on as they were written.
    pub(super) incomplete: u64,
    /// Beside them, those that were printed by a run before.
    pub(super) passed_over: u64,
}

impl Counts {
    /// The exit code of all together.
    pub(super) fn code(self) -> u8 {
        match self {
            Self { failed: 1.., .. } => SOME_FAILED,
            Self { incomplete: 1.., .. } => NOT_THE_COMMAND,
            _ => OK,
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} succeeded, {} failed", self.succeeded, self.failed)?;
        if self.incomplete > 0 {
            write!(f, "; the output of {} of them is incomplete", self.incomplete)?;
        }
        if self.passed_over > 0 {
            write!(f, "; {} skipped as recorded in the joblog", self.passed_over)?;
        }
        Ok(())
    }
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
    joblog: Option<Joblog>,
    pub(super) counts: Counts,
}

impl Printing {
    pub(super) fn new(printer: Printer, keeps_order: bool, joblog: Option<Joblog>) -> Self {
        Self { printer, keeps_order, next: 0, early: BTreeMap::new(), joblog, counts: Counts::default() }
    }

    /// Whether the output of this place was printed by a run before; it is passed over then.
    pub(super) fn pass_over(&mut self, place: u64) -> Result<bool, Failure> {
        let was_printed = self.was_printed(place);
        if was_printed {
            self.counts.passed_over += 1;
            self.go_on()?;
        }
        Ok(was_printed)
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
        self.leave_out(job.place)
    }

    fn leave_out(&mut self, place: u64) -> Result<(), Failure> {
        if !self.keeps_order {
            return Ok(());
        }
        self.early.insert(place, None);
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        loop {
            match self.early.remove(&self.next) {
                Some(Some((job, task))) => self.print(&job, &task)?,
                Some(None) => {}
                // It is in no one's way, so it takes no room among those that wait.
                None if self.was_printed(self.next) => {}
                None => return Ok(()),
            }
            self.next += 1;
        }
    }

    fn was_printed(&self, place: u64) -> bool {
        self.joblog.as_ref().is_some_and(|joblog| joblog.has(place + 1))
    }

    fn print(&mut self, job: &Job, task: &TaskView) -> Result<(), Failure> {
        self.pass_on(job, task)?;
        self.joblog.as_mut().map_or(Ok(()), |joblog| joblog.note(job.place + 1, task))
    }

    fn pass_on(&mut self, job: &Job, task: &TaskView) -> Result<(), Failure> {
        if task.state == TaskState::Succeeded {
            self.counts.succeeded += 1;
        } else {
            self.counts.failed += 1;
        }
        self.counts.incomplete += u64::from(is_incomplete(task));
        if self.printer.is_json {
            return json_line(&Mapped { line: job.number, input: &job.input, task });
        }
        if let Some(result) = result_of(task) {
            write(&result.stdout.bytes)?;
            std::io::stderr().lock().write_all(&result.stderr.bytes)?;
            for (name, bytes) in gaps(&result) {
                remark(format!("line {}: {bytes} bytes of {name} are missing", job.number));
            }
        } else if task.state == TaskState::Succeeded {
            remark(format!("line {}: its result cannot be read; see `clb show {}`", job.number, task.id));
        }
        if task.state != TaskState::Succeeded {
            let why = task.error.as_ref().map_or(task.state.as_str(), |error| &error.message);
            remark(format!("line {} ({}): {}; task {}", job.number, safe(&job.input), safe(why), task.id));
        }
        Ok(())
    }
}
