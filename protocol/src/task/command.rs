//! A program to run: what it is called with, and what it finds when it starts. No shell is involved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FieldError;
use super::request::escape;

/// The most arguments of a program, its name included.
pub const MAX_ARGUMENTS: usize = 16_384;
/// The most bytes of one argument or of one variable with its name: what Linux takes.
pub const MAX_ARGUMENT_BYTES: usize = 131_071;
/// The most variables that a task may set.
pub const MAX_VARIABLES: usize = 1_024;
/// The most bytes of a path.
pub const MAX_PATH_BYTES: usize = 4_095;
/// The most bytes of arguments, variables and standard input together.
pub const MAX_COMMAND_BYTES: usize = 1 << 20;
/// The variables that every program finds set to its own task.
pub const RESERVED_VARIABLES: [&str; 3] = ["CLB_TASK_ID", "CLB_ATTEMPT", "CLB_GROUP"];

/// Variables by name.
pub type Env = BTreeMap<String, String>;

/// A program and how it is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments.
    #[serde(rename = "command")]
    pub argv: Argv,
    /// Variables beside those of the worker's container.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// What it reads; nothing when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,
    /// Where it runs; the working directory of the container when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The exit codes that mean success.
    #[serde(default = "Command::only_zero")]
    pub success_codes: BTreeSet<u8>,
}

impl Command {
    /// A command that leaves everything else to the defaults.
    #[must_use]
    pub fn new(argv: Argv) -> Self {
        Self { argv, env: Env::new(), stdin: None, working_dir: None, success_codes: Self::only_zero() }
    }

    pub(super) fn only_zero() -> BTreeSet<u8> {
        BTreeSet::from([0])
    }

    /// Whether this exit code means success.
    #[must_use]
    pub fn is_success(&self, exit_code: i32) -> bool {
        u8::try_from(exit_code).is_ok_and(|code| self.success_codes.contains(&code))
    }

    pub(super) fn broken_limits(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, pointer: &str, detail: String| {
            if !holds {
                errors.push(FieldError::at(pointer, detail));
            }
        };
        let nul = || "must not contain a NUL character".to_owned();
        let long = || format!("must have at most {MAX_ARGUMENT_BYTES} bytes");
        require(
            self.argv.len() <= MAX_ARGUMENTS,
            "/command",
            format!("must have at most {MAX_ARGUMENTS} items"),
        );
        require(!self.argv.program.is_empty(), "/command/0", "must name a program".to_owned());
        for (place, argument) in self.argv.iter().enumerate() {
            let pointer = format!("/command/{place}");
            require(!argument.contains('\0'), &pointer, nul());
            require(argument.len() <= MAX_ARGUMENT_BYTES, &pointer, long());
        }
        require(self.env.len() <= MAX_VARIABLES, "/env", format!("must have at most {MAX_VARIABLES} items"));
        for (name, value) in &self.env {
            let pointer = format!("/env/{}", escape(name));
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            require(is_name, &pointer, "the name must not be empty nor contain `=` or NUL".to_owned());
            let is_free = !RESERVED_VARIABLES.contains(&name.as_str());
            require(is_free, &pointer, "is set by the worker".to_owned());
            require(!value.contains('\0'), &pointer, nul());
            require(name.len() + value.len() < MAX_ARGUMENT_BYTES, &pointer, long());
        }
        if let Some(path) = &self.working_dir {
            let is_path = path.starts_with('/') && !path.contains('\0') && path.len() <= MAX_PATH_BYTES;
            require(
                is_path,
                "/working_dir",
                format!("must be an absolute path of at most {MAX_PATH_BYTES} bytes"),
            );
        }
        require(!self.success_codes.is_empty(), "/success_codes", "must name at least one code".to_owned());
        let (arguments, stdin) = (self.arguments_bytes(), self.stdin.as_ref().map_or(0, |it| it.0.len()));
        let pointer = if arguments > MAX_COMMAND_BYTES { "/command" } else { "/stdin" };
        require(
            arguments + stdin <= MAX_COMMAND_BYTES,
            pointer,
            format!(
                "arguments, variables and standard input have at most {MAX_COMMAND_BYTES} bytes together"
            ),
        );
        errors
    }

    fn arguments_bytes(&self) -> usize {
        let arguments: usize = self.argv.iter().map(str::len).sum();
        arguments + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// A program and its arguments; there always is a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Argv {
    /// A path, or a name that is looked for in `PATH`.
    pub program: String,
    /// What it is called with.
    pub arguments: Vec<String>,
}

impl Argv {
    /// A program with its arguments.
    pub fn new<T: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = T>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    fn len(&self) -> usize {
        self.arguments.len() + 1
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.program).chain(&self.arguments).map(String::as_str)
    }
}

/// As it would be typed into a shell.
impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.iter().enumerate() {
            let is_plain = !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(&byte));
            let space = if place == 0 { "" } else { " " };
            if is_plain {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

/// There is no program in an empty list.
#[derive(Clone, Copy, Debug)]
pub struct EmptyCommand;

impl fmt::Display for EmptyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command names at least its program")
    }
}

impl std::error::Error for EmptyCommand {}

impl TryFrom<Vec<String>> for Argv {
    type Error = EmptyCommand;

    fn try_from(words: Vec<String>) -> Result<Self, EmptyCommand> {
        let mut words = words.into_iter();
        let program = words.next().ok_or(EmptyCommand)?;
        Ok(Self { program, arguments: words.collect() })
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        std::iter::once(argv.program).chain(argv.arguments).collect()
    }
}

/// What a program reads, in JSON `"text"` or `{"base64": "..."}`; the same bytes are the same input,
/// however they were written.
#[derive(Clone, PartialEq, Eq)]
pub struct Stdin(pub Vec<u8>);

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stdin({} bytes)", self.0.len())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded<T> {
    base64: T,
}

impl Serialize for Stdin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            // Other control characters would each take six bytes as text.
            Ok(text) if text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')) => {
                text.serialize(serializer)
            }
            _ => Encoded { base64: BASE64.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stdin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Encoded(Encoded<String>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Encoded(Encoded { base64 }) => BASE64.decode(base64).map_err(serde::de::Error::custom)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_command_is_empty_is_an_error_like_any_other() {
        fn argv(words: Vec<String>) -> Result<Argv, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Argv::try_from(words)?)
        }
        assert_eq!(argv(Vec::new()).unwrap_err().to_string(), "a command names at least its program");
    }

    #[test]
    fn input_is_read_in_both_forms_and_written_as_text_where_it_is_text() {
        let text: Stdin = serde_json::from_str(r#""a\nü""#).unwrap();
        let same: Stdin = serde_json::from_str(r#"{"base64": "YQrDvA=="}"#).unwrap();
        assert_eq!(text, same);
        assert_eq!(serde_json::to_string(&same).unwrap(), r#""a\nü""#);
        let binary = serde_json::to_string(&Stdin(vec![0, 255])).unwrap();
        assert_eq!(binary, r#"{"base64":"AP8="}"#);
        assert_eq!(serde_json::from_str::<Stdin>(&binary).unwrap().0, [0, 255]);
        for bad in [r#"{"base64": "?"}"#, r#"{"base64": "", "a": 1}"#, "7", r#"{"base64": 7}"#] {
            assert!(serde_json::from_str::<Stdin>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_line_is_shown_as_it_would_be_typed() {
        let argv = Argv::new("/bin/sh", ["-c", "echo 'a b'", ""]);
        assert_eq!(argv.to_string(), r"/bin/sh -c 'echo '\''a b'\''' ''");
    }
}
