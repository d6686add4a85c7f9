//! The worker's log: the last lines for its own page, all lines for standard output and for the
//! leader. A line on a payload costs a few bytes until somebody reads it, and under load there are
//! bounds on how many leave the process; what is left out is counted and said.

mod record;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clb_outlet::Outlet;
use clb_protocol::link::LogLine;
use clb_protocol::{TaskId, Timestamp, seed};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use record::Record;

pub(crate) use record::RING_LINES;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A payload arrived.
    ReceivedPayload(TaskId),
    /// A result went to the leader.
    SentResult {
        /// The task.
        task: TaskId,
        /// The leader's port.
        port: u16,
    },
    /// Anything else.
    Text(Box<str>),
}

impl Note {
    fn task(&self) -> Option<TaskId> {
        match self {
            Self::ReceivedPayload(task) | Self::SentResult { task, .. } => Some(*task),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReceivedPayload(task) => f.write_str(&seed::received_payload(*task)),
            Self::SentResult { task, port } => f.write_str(&seed::sent_result_to_leader(*task, *port)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A handle on the log, shared by everything in the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    record: Arc<Mutex<Record>>,
    output: Option<Outlet>,
}

impl Journal {
    /// A log whose lines appear on standard output too; that of [`Journal::default`] keeps to itself.
    pub(crate) fn on(stdout: Outlet) -> Self {
        Self { output: Some(stdout), ..Self::default() }
    }

    /// Writes a line; on standard output it appears with the next [`Journal::flush`].
    pub(crate) fn note(&self, at: Timestamp, note: Note) {
        self.record().note(at, note);
    }

    /// Says what was left out in the seconds that are over, and writes to standard output.
    pub(crate) fn flush(&self, now: Timestamp) {
        let text = {
            let mut record = self.record();
            record.turn(now);
            record.take_output()
        };
        if let Some(output) = &self.output {
            output.put(text.as_bytes());
        }
    }

    /// Whether lines wait for the leader.
    pub(crate) fn has_news(&self) -> bool {
        self.record().has_news()
    }

    /// Takes the lines that the leader has not got yet, oldest first.
    pub(crate) fn take_for_leader(&self) -> Vec<LogLine> {
        self.record().take_for_leader()
    }

    /// The last lines, newest last.
    pub(crate) fn last(&self, limit: usize) -> Vec<(Timestamp, String)> {
        self.record().last(limit)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Each line is whole on its own: a panic elsewhere cannot have left half of one.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the messages of the program lines of the log. `wanted` is a level (`info`) or a filter by
/// module (`clb_worker=debug,hyper=warn`).
pub(crate) fn collect_tracing(journal: &Journal, wanted: &str) {
    let filter = wanted.parse::<LevelFilter>().map_or_else(
        |_| wanted.parse::<Targets>().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO)),
        |level| Targets::new().with_default(LevelFilter::WARN).with_target("clb_worker", level),
    );
    let sink = journal.clone();
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || Sink(sink.clone()));
    // A second subscriber in one process, as tests have it, changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Takes one formatted message with each write.
struct Sink(Journal);

impl Write for Sink {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(message);
        let now = Timestamp::now();
        self.0.note(now, Note::Text(text.trim_end().into()));
        self.0.flush(now);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
