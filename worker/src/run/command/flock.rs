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
use tokio::sync::{broadcast, mpsc, oneshot};

use super::readers::Readers;
use super::shepherd::SHEPHERD;
use super::wire::Wire;
use super::{Job, Kill, Order, Piece, Read, Said, Stop, tree};
use crate::run::{AttemptKey, Ended, Told};

/// Beyond so many at once some are not told of, and count as nobody's.
const MOST_KILLS: usize = 64;
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
    running: HashMap<AttemptKey, mpsc::UnboundedSender<Wish>>,
    shared: Shared,
}

/// What may be wanted of a running program.
#[derive(Debug)]
enum Wish {
    Stop(Stop),
    Read(Read, oneshot::Sender<Option<Piece>>),
}

/// What the shepherds' tasks share with their owner.
#[derive(Clone, Debug)]
struct Shared {
    told: mpsc::UnboundedSender<Told>,
    roster: Arc<Mutex<Roster>>,
    /// Whose processes were killed over the memory limit.
    killed: broadcast::Sender<(AttemptKey, Kill)>,
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
    wishes: mpsc::UnboundedReceiver<Wish>,
}

impl Shepherds {
    /// None so far. What there is to tell of programs is sent to `told`.
    #[must_use]
    pub fn new(launcher: Launcher, told: mpsc::UnboundedSender<Told>) -> Self {
        let shared = Shared { told, roster: Arc::default(), killed: broadcast::Sender::new(MOST_KILLS) };
        Self { launcher, running: HashMap::new(), shared }
    }

    /// Starts a program.
    pub fn start(&mut self, job: Box<Job>) {
        let key = job.key;
        let (wish, wishes) = mpsc::unbounded_channel();
        self.running.retain(|_, wish| !wish.is_closed());
        self.running.insert(key, wish);
        let mut errand = Errand { job, wishes };
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
            let _ = running.send(Wish::Stop(stop));
        }
    }

    /// Asks for a piece of what a running program wrote. When it ends before there is one, that is told
    /// first and then `reply` is dropped.
    pub fn read(&self, key: AttemptKey, read: Read, reply: oneshot::Sender<Option<Piece>>) {
        if let Some(running) = self.running.get(&key) {
            let _ = running.send(Wish::Read(read, reply));
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
            let mut readers = Readers::default();
            match shepherd.run(errand, &mut readers, &self).await {
                Ok(Some(gave)) => self.tell(key, gave),
                Ok(None) => break,
                Err(error) => {
                    let how = shepherd.end(&self).await;
                    self.sweep().await;
                    let words = format!("the process that kept its program is gone ({how}): {error}");
                    return self.tell(key, Yield::failed(words));
                }
            }
            // Who still waits hears of the end after everybody else has.
            drop(readers);
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
        let _ = self.told.send(Told::Ended(Ended { key, gave }));
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
    async fn run(
        &mut self,
        errand: Errand,
        readers: &mut Readers,
        shared: &Shared,
    ) -> io::Result<Option<Yield>> {
        let Errand { job, mut wishes } = errand;
        let key = job.key;
        let mut killed = shared.killed.subscribe();
        self.wire.say(&Order::Run(&job)).await?;
        drop(job);
        loop {
            tokio::select! {
                said = self.wire.hear::<Said<Yield>>() => match said? {
                    Some(Said::Ended(gave)) => return Ok(Some(gave)),
                    Some(Said::Piece { number, piece }) => readers.answer(number, piece),
                    Some(Said::Progress(progress)) => drop(shared.told.send(Told::Progress(key, progress))),
                    Some(Said::Killed(kill)) => drop(shared.killed.send((key, kill))),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                wish = wishes.recv() => match wish {
                    Some(Wish::Stop(stop)) => self.wire.say(&Order::<Job>::Stop(stop)).await?,
                    Some(Wish::Read(read, reader)) => {
                        let number = readers.add(reader);
                        self.wire.say(&Order::<Job>::Read { number, read }).await?;
                    }
                    None => return Ok(None),
                },
                Ok((whose, kill)) = killed.recv() => {
                    if whose != key {
                        self.wire.say(&Order::<Job>::NeighbourKilled(kill)).await?;
                    }
                }
                number = readers.gone() => self.wire.say(&Order::<Job>::Forget { number }).await?,
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

#[cfg(test)]
mod tests {
    use clb_protocol::task::{Argv, Command as Program, OutputStream};
    use clb_protocol::{AttemptNo, TaskId};

    use super::*;

    #[tokio::test]
    async fn a_shepherd_hears_that_a_reader_of_a_silent_program_went_away() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new("true").spawn().unwrap();
        let mut shepherd = Shepherd { wire: Wire::new(ours), child, pid: None };
        let key = (TaskId::now(), AttemptNo(1));
        let command = Program::new(Argv::new("true", [""; 0]));
        let (linger, stop_grace) = (Duration::ZERO, Duration::ZERO);
        let job = Box::new(Job { key, group: None, command, linger, stop_grace });
        let (wish, wishes) = mpsc::unbounded_channel();
        let killed = broadcast::Sender::new(MOST_KILLS);
        let shared = Shared { told: mpsc::unbounded_channel().0, roster: Arc::default(), killed };
        let mut readers = Readers::default();
        let running = shepherd.run(Errand { job, wishes }, &mut readers, &shared);
        let mut wire = Wire::new(theirs);
        let script = async {
            assert!(matches!(wire.hear::<Order<Job>>().await.unwrap(), Some(Order::Run(_))));
            let read = Read { stream: OutputStream::Stdout, from: 0, waits: true };
            for expected in 1..=2 {
                let (reply, reader) = oneshot::channel();
                wish.send(Wish::Read(read, reply)).unwrap();
                let asked = wire.hear::<Order<Job>>().await.unwrap();
                assert!(matches!(asked, Some(Order::Read { number, .. }) if number == expected));
                drop(reader);
                let told = wire.hear::<Order<Job>>().await.unwrap();
                assert!(matches!(told, Some(Order::Forget { number }) if number == expected), "{told:?}");
            }
            drop(wish);
        };
        let (gave, ()) = tokio::join!(running, script);
        assert!(gave.unwrap().is_none());
    }
}
