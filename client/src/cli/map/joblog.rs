//! A row for each line whose output was printed, as GNU parallel writes it; another run goes on behind them.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use clb_client::protocol::Timestamp;
use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::Exit;

use super::super::output::{safe, what};
use super::super::submit::result_of;
use crate::failure::Failure;

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
const COLUMNS: usize = 9;
/// The exit code of what did not end by itself, as GNU parallel has it.
const NO_CODE: i32 = -1;

/// See the module.
#[derive(Debug)]
pub(super) struct Joblog {
    path: PathBuf,
    file: File,
    printed: HashSet<u64>,
}

impl Joblog {
    /// Begins anew, or goes on with what is there.
    pub(super) fn open(path: &Path, resumes: bool) -> Result<Self, Failure> {
        let failed = |source| Failure::Read { name: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.create(true).read(true);
        let options = if resumes { options.append(true) } else { options.write(true).truncate(true) };
        let file = options.open(path).map_err(failed)?;
        let mut log = Self { path: path.to_owned(), file, printed: HashSet::new() };
        let ends_within_a_row = log.read().map_err(failed)?;
        if log.file.metadata().map_err(failed)?.len() == 0 {
            log.write(HEADER)?;
        } else if ends_within_a_row {
            log.write("\n")?;
        }
        Ok(log)
    }

    /// Whether the line at this place was printed, from 1.
    pub(super) fn has(&self, place: u64) -> bool {
        self.printed.contains(&place)
    }

    /// The output of the line at this place is printed.
    pub(super) fn note(&mut self, place: u64, task: &TaskView) -> Result<(), Failure> {
        let result = result_of(task);
        let (code, signal) = match result.as_ref().map(|result| result.exit) {
            Some(Exit::Code(code)) => (code, 0),
            Some(Exit::Signal(signal)) => (NO_CODE, signal),
            None => (NO_CODE, 0),
        };
        let runtime = result.as_ref().map_or(0.0, |result| result.duration);
        let bytes = result.as_ref().map_or(0, |result| result.stdout.bytes.len());
        let started = task.started_at.unwrap_or(Timestamp(0)).0 as f64 / 1e6;
        let host = safe(task.worker.as_deref().unwrap_or("-"));
        let command = what(task);
        self.write(&format!(
            "{place}\t{host}\t{started:.3}\t{runtime:.3}\t0\t{bytes}\t{code}\t{signal}\t{command}\n"
        ))
    }

    /// Gives whether the last row is cut off.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut reader = BufReader::new(&self.file);
        let mut row = Vec::new();
        loop {
            row.clear();
            if reader.read_until(b'\n', &mut row)? == 0 {
                return Ok(false);
            }
            if row.last() != Some(&b'\n') {
                return Ok(true);
            }
            let mut columns = row.split(|byte| *byte == b'\t');
            let first = columns.next().and_then(|place| std::str::from_utf8(place).ok());
            let place = first.and_then(|place| place.parse::<u64>().ok());
            if columns.count() + 1 >= COLUMNS {
                self.printed.extend(place);
            }
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", self.path.display())))
    }
}
