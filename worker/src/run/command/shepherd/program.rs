//! Finding a program and starting it: no shell, a process group and an environment of its own.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use clb_protocol::link::Cause;
use rustix::process::Pid;

use crate::run::command::Job;

/// Where programs are looked for when nobody says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// There is no such folder for it to run in.
    #[error("cannot start: the working directory {0} does not exist")]
    NoWorkingDir(String),
    /// There is no such program.
    #[error("cannot start: there is no program {program} {place}")]
    NotFound {
        /// Its name.
        program: String,
        /// Where there is none.
        place: String,
    },
    /// It is there but must not be run.
    #[error("cannot start: {0} is not executable")]
    NotExecutable(String),
    /// It is there but what it needs to run is not: the interpreter of a script, the loader of a binary.
    #[error("cannot start: the interpreter named by {0} does not exist")]
    NoInterpreter(String),
    /// It is no program at all.
    #[error("cannot start: {0} is neither a binary for this machine nor a script that names its interpreter")]
    NoProgram(String),
    /// The kernel takes less.
    #[error("cannot start: arguments and environment are too long for this system")]
    TooLong,
    /// The container has as many processes as it may have, or no memory.
    #[error("cannot start: the worker's container has no room for another process: {0}")]
    NoRoom(#[source] io::Error),
    /// Anything else.
    #[error("cannot start {program}: {cause}")]
    Other {
        /// Its path.
        program: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl StartError {
    /// Whose fault it is: the task's, or that of the machine, which may have room a moment later.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::NoWorkingDir(_)
            | Self::NotFound { .. }
            | Self::NotExecutable(_)
            | Self::NoInterpreter(_)
            | Self::NoProgram(_)
            | Self::TooLong => Cause::CannotStart,
            Self::NoRoom(_) | Self::Other { .. } => Cause::Error,
        }
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) program: Pid,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Starts the program of a job. The environment of the shepherd is that of the container.
pub(super) fn start(job: &Job) -> Result<Started, StartError> {
    let command = &job.command;
    if let Some(folder) = &command.working_dir
        && !Path::new(folder).is_dir()
    {
        return Err(StartError::NoWorkingDir(folder.clone()));
    }
    let path = command.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
    let path = path.unwrap_or_else(|| USUAL_PATH.into());
    let program = find(&command.argv.program, &path, command.working_dir.as_deref())?;
    let (task, attempt) = job.key;
    let mut new = Command::new(&program);
    new.arg0(&command.argv.program)
        .args(&command.argv.arguments)
        .env("PATH", &path)
        .envs(&command.env)
        .env("CLB_TASK_ID", task.to_string())
        .env("CLB_ATTEMPT", attempt.to_string())
        .env("CLB_GROUP", job.group.as_deref().unwrap_or(""))
        .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(folder) = &command.working_dir {
        new.current_dir(folder);
    }
    let mut child = new.spawn().map_err(|cause| explain(cause, &program))?;
    Ok(Started {
        program: Pid::from_child(&child),
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    })
}

/// The file that `program` means: a path, or a name to be looked for in the folders of `path`.
fn find(program: &str, path: &OsString, working_dir: Option<&str>) -> Result<PathBuf, StartError> {
    if program.contains('/') {
        let file =
            working_dir.map_or_else(|| PathBuf::from(program), |folder| Path::new(folder).join(program));
        return match file.metadata() {
            Ok(found) if is_executable(&found) => Ok(file),
            Ok(_) => Err(StartError::NotExecutable(program.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(StartError::NotExecutable(program.to_owned()))
            }
            Err(_) => Err(StartError::NotFound { program: program.to_owned(), place: "there".to_owned() }),
        };
    }
    let mut denied = None;
    for folder in std::env::split_paths(path) {
        let file =
            working_dir.map_or_else(|| folder.clone(), |base| Path::new(base).join(&folder)).join(program);
        match file.metadata() {
            Ok(found) if is_executable(&found) => return Ok(file),
            Ok(found) if found.is_file() => denied = Some(file),
            _ => {}
        }
    }
    Err(match denied {
        Some(file) => StartError::NotExecutable(file.display().to_string()),
        None => StartError::NotFound {
            program: program.to_owned(),
            place: format!("in PATH ({})", path.to_string_lossy()),
        },
    })
}

fn is_executable(found: &Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

fn explain(cause: io::Error, program: &Path) -> StartError {
    use io::ErrorKind::{ArgumentListTooLong, NotFound, OutOfMemory, PermissionDenied, WouldBlock};
    const NO_FORMAT: i32 = 8;
    let program = program.display().to_string();
    match cause.kind() {
        NotFound => StartError::NoInterpreter(program),
        PermissionDenied => StartError::NotExecutable(program),
        ArgumentListTooLong => StartError::TooLong,
        WouldBlock | OutOfMemory => StartError::NoRoom(cause),
        _ if cause.raw_os_error() == Some(NO_FORMAT) => StartError::NoProgram(program),
        _ => StartError::Other { program, cause },
    }
}
