//! What a program left behind: how it ended and what it wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes that are kept of each of a program's two outputs: as many of its beginning as of its
/// end when there were more.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// The result of a command:
///
/// ```json
/// {"exit_code": 0, "stdout": "2\n", "stderr": "", "duration": 0.012}
/// ```
///
/// `exit_code` is `null` and `signal` is there when a signal ended the program. `stdout` and `stderr`
/// are always text. Where the bytes are none (not UTF-8, or with a NUL), the text has U+FFFD in their
/// place and `stdout_base64` has them exactly. Of more than [`MAX_OUTPUT_BYTES`] the middle is left
/// out: `stdout_truncated` is `{"at", "dropped_bytes"}`, where `at` is the byte of the output before
/// which they are missing. `oom` is `{"peak_bytes", "limit_bytes"}`, each where it is known, when the
/// kernel killed processes over the memory limit of its worker while the program ran, and it failed.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandResult {
    /// How the program ended.
    pub exit: Exit,
    /// What it wrote to standard output.
    pub stdout: Output,
    /// What it wrote to standard error.
    pub stderr: Output,
    /// From its start until the last of its descendants was gone, in seconds.
    pub duration: f64,
    /// The memory of the worker, when the kernel killed processes over it and the program failed.
    pub oom: Option<OutOfMemory>,
}

/// One of a program's two outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Its name in addresses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr].into_iter().find(|stream| stream.as_str() == name)
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What a program wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// What is kept of it.
    pub bytes: Vec<u8>,
    /// What is missing.
    pub truncated: Option<Truncated>,
}

/// What stands in an output in the place of so many bytes that are not kept.
#[must_use]
pub fn missing(bytes: u64) -> Vec<u8> {
    format!("\n[clb: {bytes} bytes are missing here]\n").into_bytes()
}

/// The gap in an output of which the middle was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// Before which byte of what is kept.
    pub at: u64,
    /// How many bytes.
    pub dropped_bytes: u64,
}

/// The memory of a worker whose program was killed over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// The most that the worker's container ever used, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// What it may use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

impl CommandResult {
    /// What the program wrote there.
    #[must_use]
    pub fn output(&self, stream: OutputStream) -> &Output {
        match stream {
            OutputStream::Stdout => &self.stdout,
            OutputStream::Stderr => &self.stderr,
        }
    }
}

impl Output {
    /// Everything that is kept, with [`missing`] where something is not.
    #[must_use]
    pub fn with_gap(&self) -> Vec<u8> {
        let Some(Truncated { at, dropped_bytes }) = self.truncated else { return self.bytes.clone() };
        let (head, tail) = self.bytes.split_at(self.bytes.len().min(at as usize));
        [head, &missing(dropped_bytes), tail].concat()
    }

    /// The output for people; what is no text is replaced.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).replace('\0', "\u{fffd}")
    }

    fn is_text(&self) -> bool {
        std::str::from_utf8(&self.bytes).is_ok() && !self.bytes.contains(&0)
    }

    fn base64(&self) -> Option<String> {
        (!self.is_text()).then(|| BASE64.encode(&self.bytes))
    }

    fn read<E: serde::de::Error>(
        text: String,
        base64: Option<String>,
        truncated: Option<Truncated>,
    ) -> Result<Self, E> {
        let bytes = match base64 {
            Some(base64) => BASE64.decode(base64).map_err(E::custom)?,
            None => text.into_bytes(),
        };
        Ok(Self { bytes, truncated })
    }
}

#[derive(Serialize, Deserialize)]
struct Flat {
    exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    stdout: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout_truncated: Option<Truncated>,
    stderr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr_truncated: Option<Truncated>,
    duration: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oom: Option<OutOfMemory>,
}

impl Serialize for CommandResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (exit_code, signal) = match self.exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
        };
        Flat {
            exit_code,
            signal,
            stdout: self.stdout.text(),
            stdout_base64: self.stdout.base64(),
            stdout_truncated: self.stdout.truncated,
            stderr: self.stderr.text(),
            stderr_base64: self.stderr.base64(),
            stderr_truncated: self.stderr.truncated,
            duration: self.duration,
            oom: self.oom,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CommandResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let flat = Flat::deserialize(deserializer)?;
        let exit = match (flat.exit_code, flat.signal) {
            (Some(code), None) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            _ => return Err(D::Error::custom("a program ends with an exit code or by a signal")),
        };
        Ok(Self {
            exit,
            stdout: Output::read(flat.stdout, flat.stdout_base64, flat.stdout_truncated)?,
            stderr: Output::read(flat.stderr, flat.stderr_base64, flat.stderr_truncated)?,
            duration: flat.duration,
            oom: flat.oom,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(stdout: &[u8], exit: Exit) -> CommandResult {
        CommandResult {
            exit,
            stdout: Output { bytes: stdout.to_vec(), truncated: None },
            stderr: Output::default(),
            duration: 0.5,
            oom: None,
        }
    }

    #[test]
    fn text_is_text_and_nothing_else_is_said() {
        let json = serde_json::to_string(&result(b"2\n", Exit::Code(0))).unwrap();
        assert_eq!(json, r#"{"exit_code":0,"stdout":"2\n","stderr":"","duration":0.5}"#);
    }

    #[test]
    fn what_is_no_text_comes_exactly_as_well() {
        let json = serde_json::to_string(&result(b"\xff\0a", Exit::Signal(9))).unwrap();
        let start =
            "{\"exit_code\":null,\"signal\":9,\"stdout\":\"\u{fffd}\u{fffd}a\",\"stdout_base64\":\"/wBh\",";
        assert!(json.starts_with(start), "{json}");
    }

    #[test]
    fn a_gap_is_told_where_it_is() {
        let output = |truncated| Output { bytes: b"headtail".to_vec(), truncated };
        let told = output(Some(Truncated { at: 4, dropped_bytes: 7 })).with_gap();
        assert_eq!(told, b"head\n[clb: 7 bytes are missing here]\ntail");
        assert_eq!(output(None).with_gap(), b"headtail");
    }

    #[test]
    fn whatever_it_says_is_read_again() {
        let mut all = result(b"\xff\0a", Exit::Signal(9));
        all.stderr =
            Output { bytes: b"ab".to_vec(), truncated: Some(Truncated { at: 1, dropped_bytes: 77 }) };
        all.oom = Some(OutOfMemory { peak_bytes: Some(8), limit_bytes: None });
        for result in [all, result("ü\u{1b}".as_bytes(), Exit::Code(3))] {
            let json = serde_json::to_string(&result).unwrap();
            assert_eq!(serde_json::from_str::<CommandResult>(&json).unwrap(), result);
        }
    }
}
