//! `clb results`: what the tasks of a group gave, in the order in which they ended.

use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::OutcomeSeq;
use clb_client::protocol::api::{OutcomeView, TaskState, TaskView};
use clb_client::protocol::task::{Exit, OutputStream};

use super::gaps::{self, is_incomplete};
use super::interrupt::interruptible;
use super::output::{Printer, json_line, plain, remark, say, span, word, work, write};
use super::progress::Progress;
use super::reason::reason;
use super::submit::result_of;
use super::values::end;
use super::{absent, completion};
use crate::failure::{Done, Failure};

const HOLD: Duration = Duration::from_secs(30);
const COLUMNS: [&str; 21] = [
    "seq",
    "id",
    "group",
    "state",
    "worker",
    "attempt",
    "submitted_at",
    "started_at",
    "finished_at",
    "exit_code",
    "signal",
    "duration",
    "stdout",
    "stderr",
    "error",
    "stdout_dropped_bytes",
    "stderr_dropped_bytes",
    "error_code",
    "pool",
    "command",
    "labels",
];

/// Which results, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct ResultsOptions {
    /// The group
    #[arg(long, value_name = "TEXT", add = completion::group())]
    group: String,
    /// Print CSV (RFC 4180), one task per line
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Only tasks that ended in this state
    #[arg(long, value_name = "STATE", value_parser = end())]
    state: Option<TaskState>,
    /// Include tasks that were replayed; by default only their newest replay is printed
    #[arg(long)]
    replayed: bool,
    /// Keep printing new results until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,
    /// Start after this position, the `seq` of the last result seen
    #[arg(long, value_name = "SEQ", default_value = "0")]
    after: u64,
}

impl ResultsOptions {
    fn wants(&self, task: &TaskView) -> bool {
        (self.replayed || task.replayed_by.is_none()) && self.state.is_none_or(|state| state == task.state)
    }
}

/// Prints them.
pub(super) async fn run(options: ResultsOptions, client: &Client, printer: Printer) -> Done {
    let mut after = OutcomeSeq(options.after);
    match absent::check_group(&options.group, client).await {
        // Its first task may be submitted in a moment.
        Err(Failure::NotFound(detail)) if options.follow => {
            remark(detail);
            remark("waiting for the first task");
        }
        checked => checked?,
    }
    if options.csv {
        write(&record(COLUMNS.iter())?)?;
    }
    let progress = Progress::of_lines();
    let passes_outputs_on = options.csv || printer.is_json;
    let mut incomplete = 0;
    let printing = async {
        loop {
            let hold = if options.follow { HOLD } else { Duration::ZERO };
            let page = client.outcome_page(after, Some(&options.group), hold).await?;
            let is_last = page.outcomes.is_empty() && !options.follow;
            after = page.next;
            for outcome in page.outcomes {
                if options.wants(&outcome.task) {
                    print(&outcome, options.csv, printer)?;
                    incomplete += u64::from(passes_outputs_on && is_incomplete(&outcome.task));
                    progress.advance(1);
                }
            }
            if is_last {
                progress.finish();
                return Ok(gaps::code_of(incomplete));
            }
        }
    };
    interruptible(printing, || {
        "the tasks keep running; --after continues after the last result printed".to_owned()
    })
    .await
}

fn print(outcome: &OutcomeView, is_csv: bool, printer: Printer) -> Result<(), Failure> {
    if printer.is_json {
        return json_line(outcome);
    }
    if is_csv {
        return write(&record(columns(outcome))?);
    }
    let task = &outcome.task;
    say(format!("{}  {:<9}  {:>6}  {}", task.id, task.state.as_str(), taken(task), gist(task)))
}

/// How long the last attempt took.
fn taken(task: &TaskView) -> String {
    match (task.started_at, task.finished_at) {
        (Some(started), Some(finished)) => span(finished.since(started)),
        _ => "-".to_owned(),
    }
}

/// The result on one line, or why there is none.
fn gist(task: &TaskView) -> String {
    let written =
        || result_of(task).map(|result| String::from_utf8_lossy(&result.stdout.bytes).trim_end().to_owned());
    let json = || task.result.as_ref().map(|result| result.get().to_owned());
    plain(&reason(task).or_else(written).or_else(json).unwrap_or_default())
}

fn columns(outcome: &OutcomeView) -> [String; COLUMNS.len()] {
    let task = &outcome.task;
    let time = |at: Option<clb_client::protocol::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let result = result_of(task);
    let (code, signal) = match result.as_ref().map(|result| result.exit) {
        Some(Exit::Code(code)) => (code.to_string(), String::new()),
        Some(Exit::Signal(signal)) => (String::new(), signal.to_string()),
        None => (String::new(), String::new()),
    };
    let dropped = |stream| match &result {
        Some(result) => {
            let gap = result.output(stream).truncated.as_ref();
            gap.map_or(0, |gap| gap.dropped_bytes).to_string()
        }
        None => String::new(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (duration, stdout, stderr) = match &result {
        Some(result) => (result.duration.to_string(), text(&result.stdout.bytes), text(&result.stderr.bytes)),
        None => (
            String::new(),
            task.result.as_ref().map(|it| it.get().to_owned()).unwrap_or_default(),
            String::new(),
        ),
    };
    [
        outcome.seq.to_string(),
        task.id.to_string(),
        task.group.clone().unwrap_or_default(),
        task.state.as_str().to_owned(),
        task.worker.clone().unwrap_or_default(),
        task.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        time(Some(task.submitted_at)),
        time(task.started_at),
        time(task.finished_at),
        code,
        signal,
        duration,
        stdout,
        stderr,
        task.error.as_ref().map(|error| error.message.clone()).unwrap_or_default(),
        dropped(OutputStream::Stdout),
        dropped(OutputStream::Stderr),
        task.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
        task.pool.to_string(),
        work(task),
        if task.labels.is_empty() { String::new() } else { word(&task.labels) },
    ]
}

fn record<T: AsRef<[u8]>>(fields: impl IntoIterator<Item = T>) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(fields).map_err(std::io::Error::from)?;
    writer.into_inner().map_err(|error| Failure::Write(error.into_error()))
}
