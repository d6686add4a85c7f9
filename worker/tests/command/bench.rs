//! What every test needs: shepherds of the real program, and a look at the machine's processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clb_protocol::api::Progress;
use clb_protocol::link::{Failure, Yield};
use clb_protocol::task::{Argv, Command, CommandResult, OutputStream};
use clb_protocol::{AttemptNo, TaskId};
use clb_worker::run::command::{Job, Launcher, Piece, Read, Shepherds, Stop, StopGives};
use clb_worker::run::{AttemptKey, Ended, Told};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Long enough for the slowest machine; no test waits so long when things go well.
const PATIENCE: Duration = Duration::from_mins(1);

/// Long enough to be found to have been waited for by nobody.
pub(crate) const FOR_EVER: Duration = Duration::from_hours(1);

pub(crate) struct Bench {
    pub(crate) shepherds: Shepherds,
    told: mpsc::UnboundedReceiver<Told>,
    /// What was told of progress until the last end.
    pub(crate) progress: Vec<Progress>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let launcher = Launcher::new(env!("CARGO_BIN_EXE_clb-worker"));
        Self { shepherds: Shepherds::new(launcher, tell), told, progress: Vec::new() }
    }

    pub(crate) fn start(&mut self, command: Command) -> AttemptKey {
        self.start_lingering(command, Duration::from_millis(20))
    }

    pub(crate) fn start_lingering(&mut self, command: Command, linger: Duration) -> AttemptKey {
        let key = (TaskId::now(), AttemptNo(2));
        let (group, stop_grace) = (Some("nightly".to_owned()), Duration::from_millis(50));
        self.shepherds.start(Box::new(Job { key, group, command, linger, stop_grace }));
        key
    }

    pub(crate) fn stop(&self, key: AttemptKey, gives: StopGives, grace: Duration) {
        self.shepherds.stop(key, Stop { gives, grace });
    }

    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            match self.told().await {
                Told::Ended(ended) => return ended,
                Told::Progress(_, progress) => self.progress.push(progress),
            }
        }
    }

    pub(crate) async fn told(&mut self) -> Told {
        timeout(PATIENCE, self.told.recv()).await.expect("a program does not end").unwrap()
    }

    /// A piece of a running program's output; nothing when it ended before there was one.
    pub(crate) async fn read(&self, key: AttemptKey, stream: OutputStream, from: u64) -> Option<Piece> {
        let (reply, answer) = oneshot::channel();
        self.shepherds.read(key, Read { stream, from, waits: true }, reply);
        timeout(PATIENCE, answer).await.expect("nobody answers").ok().flatten()
    }

    pub(crate) async fn run(&mut self, command: Command) -> Yield {
        let key = self.start(command);
        let ended = self.ended().await;
        assert_eq!(ended.key, key);
        ended.gave
    }

    pub(crate) async fn succeed(&mut self, command: Command) -> CommandResult {
        match self.run(command).await {
            Yield::Succeeded(result) => read(&result),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn fail(&mut self, command: Command) -> Failure {
        match self.run(command).await {
            Yield::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn stdout_of(&mut self, script: &str) -> String {
        String::from_utf8(self.succeed(sh(script)).await.stdout.bytes).unwrap()
    }

    /// The process that keeps the programs, when there is just one at a time.
    pub(crate) async fn shepherd(&mut self) -> u32 {
        self.stdout_of("echo $PPID").await.trim().parse().unwrap()
    }
}

pub(crate) fn read(result: &RawValue) -> CommandResult {
    serde_json::from_str(result.get()).unwrap()
}

pub(crate) fn command(words: &[&str]) -> Command {
    Command::new(Argv::new(words[0], words[1..].iter().copied()))
}

pub(crate) fn sh(script: &str) -> Command {
    command(&["/bin/sh", "-c", script])
}

/// Writes a file to be run. A process of its own does it: were the file open here, another thread might
/// start a process that inherits it, and while it is open it cannot be run.
pub(crate) fn write_program(path: &Path, text: &str, mode: &str) {
    let script = r#"printf %s "$1" >"$2" && chmod "$3" "$2""#;
    let written =
        std::process::Command::new("/bin/sh").args(["-c", script, "sh", text]).arg(path).arg(mode).status();
    assert!(written.unwrap().success());
}

/// A number of seconds that no other process sleeps, by which a sleeper is found.
pub(crate) fn mark() -> String {
    let id = TaskId::now();
    let digits = id.as_bytes()[10..].iter().map(|byte| format!("{byte:03}"));
    format!("100000.{}", digits.collect::<String>())
}

/// The living processes with this word in their arguments.
pub(crate) fn processes_with(mark: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has_mark = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    pids.filter(has_mark).collect()
}

/// Waits until the world is so; fails when it never is.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn until_there_are(mark: &str, count: usize) {
    until("the expected processes are not there", || (processes_with(mark).len() == count).then_some(()))
        .await;
}
