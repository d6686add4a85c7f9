//! What a task does, with the data that this kind of work needs and no other.
//!
//! In JSON the fields of the work stand beside those of the task, and `kind` says which ones they are.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::command::{Argv, Command, Env, Stdin};
use super::{FieldError, Number};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Waits.
    Sleep,
    /// Burns one core for as long.
    Spin,
    /// Runs a program.
    Command,
}

impl Kind {
    /// The kind as it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Spin => "spin",
            Self::Command => "command",
        }
    }

    /// The fields that belong to this kind of work; those that must be there come first.
    pub(super) fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Sleep | Self::Spin => (&["seconds"], &["add"]),
            Self::Command => (&["command"], &["env", "stdin", "working_dir", "success_codes"]),
        }
    }
}

/// What a task does, and with what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Waits; gives `{"sum": a + b}`.
    Sleep(Timed),
    /// Burns one core for as long; gives the same.
    Spin(Timed),
    /// Runs a program; gives a [`super::CommandResult`].
    Command(Command),
}

impl Work {
    /// Work that waits.
    #[must_use]
    pub fn sleep(seconds: f64, add: [Number; 2]) -> Self {
        Self::Sleep(Timed { seconds, add })
    }

    /// Work that burns a core.
    #[must_use]
    pub fn spin(seconds: f64, add: [Number; 2]) -> Self {
        Self::Spin(Timed { seconds, add })
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sleep(_) => Kind::Sleep,
            Self::Spin(_) => Kind::Spin,
            Self::Command(_) => Kind::Command,
        }
    }

    /// How long it takes in seconds, where that is known beforehand.
    #[must_use]
    pub fn expected_seconds(&self) -> Option<f64> {
        match self {
            Self::Sleep(timed) | Self::Spin(timed) => Some(timed.seconds),
            Self::Command(_) => None,
        }
    }

    pub(super) fn broken_limits(&self) -> Vec<FieldError> {
        match self {
            Self::Sleep(timed) | Self::Spin(timed) => timed.broken_limits(),
            Self::Command(command) => command.broken_limits(),
        }
    }
}

/// For a person: `sleep 12 s`, or the command line.
impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleep(timed) | Self::Spin(timed) => {
                write!(f, "{} {} s", self.kind().as_str(), timed.seconds)
            }
            Self::Command(command) => command.argv.fmt(f),
        }
    }
}

/// Work that takes a given time and adds two numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// For how long, in seconds.
    pub seconds: f64,
    /// The two numbers whose sum is the result.
    pub add: [Number; 2],
}

impl Timed {
    /// The sum that is the result.
    #[must_use]
    pub fn sum(&self) -> Number {
        self.add[0].plus(self.add[1])
    }

    fn broken_limits(&self) -> Vec<FieldError> {
        use super::{MAX_INTEGER, MAX_SECONDS};
        let mut errors = Vec::new();
        if !(0.0..=MAX_SECONDS).contains(&self.seconds) {
            errors.push(FieldError::at("/seconds", format!("must be from 0 to {MAX_SECONDS}")));
        }
        for (place, number) in self.add.iter().enumerate() {
            let exact = match number {
                Number::Integer(n) => (-MAX_INTEGER..=MAX_INTEGER).contains(n),
                Number::Float(n) => n.is_finite() && n.abs() <= f64::MAX / 2.0,
            };
            if !exact {
                let detail = format!("must be a number within ±{MAX_INTEGER}");
                errors.push(FieldError::at(format!("/add/{place}"), detail));
            }
        }
        errors
    }
}

/// The fields of every kind of work, as they stand in JSON.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) kind: Kind,
    pub(super) seconds: Option<f64>,
    pub(super) add: Option<[Number; 2]>,
    pub(super) command: Option<Argv>,
    pub(super) env: Option<Env>,
    pub(super) stdin: Option<Stdin>,
    pub(super) working_dir: Option<String>,
    pub(super) success_codes: Option<BTreeSet<u8>>,
}

/// A field is missing, or belongs to another kind of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misfit(Kind);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these are not the fields of {}", self.0.as_str())
    }
}

impl TryFrom<Fields> for Work {
    type Error = Misfit;

    fn try_from(fields: Fields) -> Result<Self, Misfit> {
        let Fields { kind, seconds, add, command, env, stdin, working_dir, success_codes } = fields;
        let is_command = env.is_some() || stdin.is_some() || working_dir.is_some() || success_codes.is_some();
        match (kind, seconds, command) {
            (Kind::Sleep | Kind::Spin, Some(seconds), None) if !is_command => {
                let timed = Timed { seconds, add: add.unwrap_or([Number::Integer(0); 2]) };
                Ok(if kind == Kind::Sleep { Self::Sleep(timed) } else { Self::Spin(timed) })
            }
            (Kind::Command, None, Some(argv)) if add.is_none() => Ok(Self::Command(Command {
                argv,
                env: env.unwrap_or_default(),
                stdin,
                working_dir,
                success_codes: success_codes.unwrap_or_else(Command::only_zero),
            })),
            _ => Err(Misfit(kind)),
        }
    }
}
