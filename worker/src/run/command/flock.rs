//! The worker's side: its shepherds, which are started when they are needed, kept for the next program
//! for a while, and waited for when they end.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clb_protocol::link::Yield;
use rustix::process::{Pid, child_subreaper, getpid};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::shepherd::SHEPHERD;
use super::wire::Wire;
use super::{Job, Order, Stop, tree};
use crate::run::{AttemptKey, Ended};

/// How long a shepherd without a program is kept.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at what a lost shepherd left behind.
const SWEEP_PAUSE: Duration = Duration::from_millis(5);

/// How a shepherd is started.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl Launcher {
    /// By `program`, which becomes a shepherd when it is called with the argument [`SHEPHERD`]. Programs
    /// have the environment of this process, without what is meant for the worker.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let is_own = |name: &OsString| name.as_encoded_bytes().starts_with(b"CLB_");
        let env = std::env::vars_os().filter(|(name, _)| !is_own(name)).collect();
        Self { program: program.into(), env }
    }

    /// By the program of this process.
    #[must_use]
    pub fn own() -> Self {
        Self::new("/proc/self/exe")
    }

    fn launch(&self) -> io::Result<Shepherd> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(&self.program)
            .arg(SHEPHERD)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        Ok(Shepherd { wire: Wire::new(UnixStream::from_std(ours)?), child, pid })
    }
}

/// All shepherds of a worker. When it is dropped, they kill what they keep and end.
#[derive(Debug)]
pub struct Shepherds {
    launcher: Launcher,
    running: HashMap<AttemptKey, mpsc::UnboundedSender<Stop>>,
    shared: Shared,
}

/// What the shepherds' tasks share with their owner.
#[derive(Clone, Debug)]
struct Shared {
    ended: mpsc::UnboundedSender<Ended>,
    roster: Arc<Mutex<Roster>>,
}

#[derive(Debug, Default)]
struct Roster {
    /// Those without a program, the last used one last.
    idle: Vec<(u64, mpsc::UnboundedSender<Errand>)>,
    /// The processes.
    alive: HashSet<Pid>,
    launched: u64,
}

/// A program on its way to a shepherd.
#[derive(Debug)]
struct Errand {
    job: Box<Job>,
    stops: mpsc::UnboundedReceiver<Stop>,
}

impl Shepherds {
    /// None so far. The ends of programs are sent to `ended`.
    #[must_use]
    pub fn new(launcher: Launcher, ended: mpsc::UnboundedSender<Ended>) -> Self {
        let shared = Shared { ended, roster: Arc::default() };
        Self { launcher, running: HashMap::new(), shared }
    }

    /// Starts a program.
    pub fn start(&mut self, job: Box<Job>) {
        let key = job.key;
        let (stop, stops) = mpsc::unbounded_channel();
        self.running.retain(|_, stop| !stop.is_closed());
        self.running.insert(key, stop);
        let mut errand = Errand { job, stops };
        while let Some((_, idle)) = self.shared.roster().idle.pop() {
            match idle.send(errand) {
                Ok(()) => return,
                Err(refused) => errand = refused.0,
            }
        }
        match self.launcher.launch() {
            Ok(shepherd) => {
                self.shared.roster().alive.extend(shepherd.pid);
                tokio::spawn(self.shared.clone().follow(shepherd, errand));
            }
            Err(error) => {
                let gave = Yield::failed(format!("the worker could not start a process for it: {error}"));
                self.shared.tell(key, gave);
            }
        }
    }

    /// Has a program stopped; its end comes as that of any other.
    pub fn stop(&self, key: AttemptKey, stop: Stop) {
        if let Some(running) = self.running.get(&key) {
            // One that has just ended need not be stopped.
            let _ = running.send(stop);
        }
    }

    /// Kills a program at once. Nothing more is heard of it.
    pub fn abandon(&mut self, key: AttemptKey) {
        self.running.remove(&key);
    }
}

impl Shared {
    /// Has a shepherd run one program after the other, until it is not needed any more.
    async fn follow(self, mut shepherd: Shepherd, mut errand: Errand) {
        let number = self.roster().number();
        loop {
            let key = errand.job.key;
            match shepherd.run(errand).await {
                Ok(Some(gave)) => self.tell(key, gave),
                Ok(None) => break,
                Err(error) => {
                    let how = shepherd.end(&self).await;
                    self.sweep().await;
                    let words = format!("the process that kept its program is gone ({how}): {error}");
                    return self.tell(key, Yield::failed(words));
                }
            }
            match self.next_errand(number).await {
                Some(next) => errand = next,
                None => break,
            }
        }
        shepherd.end(&self).await;
    }

    async fn next_errand(&self, number: u64) -> Option<Errand> {
        let (send, mut errands) = mpsc::unbounded_channel();
        self.roster().idle.push((number, send));
        if let Ok(errand) = tokio::time::timeout(IDLE_LIMIT, errands.recv()).await {
            return errand;
        }
        self.roster().idle.retain(|(other, _)| *other != number);
        // It may have come in the last moment.
        errands.try_recv().ok()
    }

    /// Kills what a lost shepherd left to this process, which is where it ends up in a container.
    async fn sweep(&self) {
        let inherits = getpid().is_init() || matches!(child_subreaper(), Ok(Some(_)));
        if !inherits {
            return;
        }
        loop {
            let killed = {
                let roster = self.roster();
                tree::fell(&roster.alive)
            };
            tree::reap_these(&killed);
            if killed.is_empty() {
                return;
            }
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
    }

    fn tell(&self, key: AttemptKey, gave: Yield) {
        // Nobody listens any more when the process is ending.
        let _ = self.ended.send(Ended { key, gave });
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Each change is whole on its own: a panic elsewhere cannot have left half of one.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Roster {
    fn number(&mut self) -> u64 {
        self.launched += 1;
        self.launched
    }
}

/// One shepherd as its worker sees it.
#[derive(Debug)]
struct Shepherd {
    wire: Wire,
    child: Child,
    pid: Option<Pid>,
}

impl Shepherd {
    /// Has it run a program; `None` when nobody wants to know of the program any more.
    async fn run(&mut self, errand: Errand) -> io::Result<Option<Yield>> {
        let Errand { job, mut stops } = errand;
        self.wire.say(&Order::Run(&job)).await?;
        drop(job);
        loop {
            tokio::select! {
                gave = self.wire.hear::<Yield>() => {
                    return match gave? {
                        Some(gave) => Ok(Some(gave)),
                        None => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                stop = stops.recv() => match stop {
                    Some(stop) => self.wire.say(&Order::<Job>::Stop(stop)).await?,
                    None => return Ok(None),
                },
            }
        }
    }

    /// Lets it go: it kills what it keeps. Waits until it has ended, and tells how.
    async fn end(self, shared: &Shared) -> String {
        let Self { wire, mut child, pid } = self;
        drop(wire);
        let how = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        if let Some(pid) = pid {
            shared.roster().alive.remove(&pid);
        }
        how
    }
}
