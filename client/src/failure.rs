//! Why a command did not do what it was asked to, and the code that it exits with.

use std::io::{ErrorKind, Write as _};

use clb_client::Error;
use clb_client::protocol::task::FieldError;

use crate::cli::asked;
use crate::config::ConfigError;
use crate::healthcheck::HealthcheckError;
use crate::serve::ServeError;

/// All is well.
pub(crate) const OK: u8 = 0;
/// A task failed or was cancelled.
pub(crate) const TASK_FAILED: u8 = 1;
/// The command line, the configuration or the input is wrong.
pub(crate) const USAGE: u8 = 2;
/// Nobody could be reached, or nobody leads.
pub(crate) const UNREACHABLE: u8 = 3;
/// The cluster refused.
pub(crate) const REFUSED: u8 = 4;
/// There is no such task, group, pool or worker.
pub(crate) const NOT_FOUND: u8 = 5;
/// Some of the commands of `clb map` failed, as with xargs.
pub(crate) const SOME_FAILED: u8 = 123;
/// It took too long, as with timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;
/// With `submit --wait`: it is not the command that failed, as with `docker run`.
pub(crate) const NOT_THE_COMMAND: u8 = 125;
/// Somebody pressed Ctrl-C, or cancelled the task of `submit --wait`.
pub(crate) const INTERRUPTED: u8 = 130;
/// Whoever read the output went away.
pub(crate) const BROKEN_PIPE: u8 = 141;

const INVALID: u16 = 422;

/// What a command comes to: its exit code, or why it did not get there.
pub(crate) type Done = Result<u8, Failure>;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The cluster did not do it.
    #[error(transparent)]
    Client(Error),
    /// The cluster refused what was asked for.
    #[error("refused: {}", asked::sentence(.0))]
    Asked(Vec<FieldError>),
    /// The configuration is of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line or what it names is wrong.
    #[error("{0}")]
    Usage(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// A line of the input is wrong.
    #[error("line {number}: {detail}")]
    Line { number: u64, detail: String },
    /// The cluster refused a line of the input.
    #[error("line {number}: {detail}")]
    LineRefused { number: u64, detail: String },
    /// A file cannot be read.
    #[error("{name} cannot be read")]
    Read {
        name: String,
        #[source]
        source: std::io::Error,
    },
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Write(#[from] std::io::Error),
    /// It did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C.
    #[error("interrupted; {0}")]
    Interrupted(String),
    /// The page is not served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The page is not alive.
    #[error(transparent)]
    Healthcheck(#[from] HealthcheckError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { problem } if problem.status == INVALID && !problem.errors.is_empty() => {
                Self::Asked(problem.errors)
            }
            other => Self::Client(other),
        }
    }
}

impl Failure {
    /// See `clb --help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(Error::Refused { problem }) if problem.status == 404 => NOT_FOUND,
            Self::NotFound(_) => NOT_FOUND,
            Self::Client(Error::Unavailable { .. } | Error::Broken { .. }) => UNREACHABLE,
            Self::Client(Error::Refused { .. } | Error::QueueFull { .. } | Error::Unreadable { .. })
            | Self::Asked(_)
            | Self::LineRefused { .. } => REFUSED,
            Self::Client(Error::Address { .. } | Error::NoAddress | Error::Token)
            | Self::Config(_)
            | Self::Usage(_)
            | Self::Line { .. }
            | Self::Read { .. } => USAGE,
            Self::Write(error) if error.kind() == ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::TimedOut(_) => TIMED_OUT,
            Self::Interrupted(_) => INTERRUPTED,
            Self::Write(_) | Self::Serve(_) | Self::Healthcheck(_) => TASK_FAILED,
        }
    }

    /// Tells a person, unless it is only that the reader of the output went away.
    pub(crate) fn report(&self) {
        if self.exit_code() != BROKEN_PIPE {
            let _ = writeln!(std::io::stderr(), "clb: {}", chain(self));
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        if !text.contains(deeper_text.trim()) {
            text = format!("{text}: {}", deeper_text.trim());
        }
        cause = deeper.source();
    }
    text
}
