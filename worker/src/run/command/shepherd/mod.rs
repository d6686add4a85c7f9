//! The shepherd's side: a process that runs one program after the other for its worker and never lets
//! go of anything that belongs to one.
//!
//! ```text
//! running --the program ends--> lingering --> terminating --> killing
//!    |  \--stopped--------------------------->     |             |
//!    +----------------- no descendant left --------+-------------+--> over
//! ```
//!
//! *Lingering*: descendants may finish by themselves for a moment (the `tee` behind a program).
//! *Terminating*: all were sent SIGTERM. *Killing*: all are killed, until none is left.

mod listeners;
mod memory;
mod output;
mod pipes;
mod program;
mod progress;
mod verdict;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clb_outlet::Outlet;
use clb_protocol::link::Yield;
use clb_protocol::task::Exit;
use rustix::process::{Pid, Signal, getpid, set_child_subreaper};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::tree::{self, Reaped};
use super::wire::Wire;
use super::{Job, Order, Said, Stop};
use listeners::Listeners;
use memory::{Kills, Memory};
use pipes::Pipes;

/// The argument that makes the worker's program a shepherd.
pub const SHEPHERD: &str = "shepherd";
/// Between two looks at what does not want to die.
const KILL_PAUSE: Duration = Duration::from_millis(5);
/// The kernel rather kills a program, or its shepherd, than the worker.
const OOM_SCORE: &str = "300";

/// Runs programs for the worker at the other end of standard input, until that is closed.
#[must_use]
pub fn main() -> ExitCode {
    let complaints = Outlet::stderr();
    let _farewell = complaints.farewell();
    complaints.report_panics();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complaints.put(format!("A shepherd cannot go on: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    // Without it the worker is as likely to be chosen as its programs; they run all the same.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut wire = Wire::new(UnixStream::from_std(socket)?);
        let mut exits = signal(SignalKind::child())?;
        let memory = Memory::find();
        while let Some(order) = wire.hear::<Order<Box<Job>>>().await? {
            // It crossed the end of the program on its way.
            let Order::Run(job) = order else { continue };
            let Some(gave) = tend(&job, &memory, &mut wire, &mut exits).await else { break };
            wire.say(&Said::Ended(gave)).await?;
        }
        Ok(())
    })
}

/// Where a running program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Lingering { until: Instant },
    Terminating { until: Instant },
    Killing { again_at: Instant },
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Lingering { until } | Self::Terminating { until } => Some(until),
            Self::Killing { again_at } => Some(again_at),
        }
    }
}

/// A program and its descendants.
struct Flock {
    program: Pid,
    exit: Option<Exit>,
    stage: Stage,
    stopped: Option<Stop>,
    linger: Duration,
    grace: Duration,
    kills: Kills,
}

impl Flock {
    /// Takes in who has ended; `false` when nobody is left.
    fn reap(&mut self, now: Instant) -> bool {
        loop {
            match tree::reap() {
                Reaped::Child(pid, status) if pid == self.program => {
                    self.exit = verdict::exit(status);
                    self.suspect(self.exit);
                    if self.stage == Stage::Running {
                        self.stage = Stage::Lingering { until: now + self.linger };
                    }
                }
                Reaped::Child(_, status) => self.suspect(verdict::exit(status)),
                Reaped::AllAlive => return true,
                Reaped::NoneLeft => return false,
            }
        }
    }

    /// Takes in how a process ended that nobody here has killed yet.
    fn suspect(&mut self, exit: Option<Exit>) {
        let is_ours = matches!(self.stage, Stage::Terminating { .. } | Stage::Killing { .. });
        if !is_ours && exit.is_some_and(verdict::was_killed) {
            self.kills.has_lost_one = true;
        }
    }

    fn stop(&mut self, stop: Stop, now: Instant) {
        if self.exit.is_none() {
            self.stopped.get_or_insert(stop);
        }
        let until = now + stop.grace;
        match self.stage {
            Stage::Running | Stage::Lingering { .. } => self.terminate(until),
            Stage::Terminating { until: former } => {
                self.stage = Stage::Terminating { until: until.min(former) };
            }
            Stage::Killing { .. } => {}
        }
    }

    fn terminate(&mut self, until: Instant) {
        tree::signal_all(Signal::TERM);
        // One that is halted would not hear of it.
        tree::signal_all(Signal::CONT);
        self.stage = Stage::Terminating { until };
    }

    fn handle_deadline(&mut self, now: Instant) {
        match self.stage {
            Stage::Running => {}
            Stage::Lingering { .. } => self.terminate(now + self.grace),
            Stage::Terminating { .. } | Stage::Killing { .. } => self.kill(now),
        }
    }

    fn kill(&mut self, now: Instant) {
        // Reaping is left to the loop, which wants to know how the program ended.
        tree::fell(&HashSet::new());
        self.stage = Stage::Killing { again_at: now + KILL_PAUSE };
    }
}

/// Runs a program until nothing is left of it; `None` when the worker does not want to know any more.
async fn tend(job: &Job, memory: &Memory, wire: &mut Wire, exits: &mut Signals) -> Option<Yield> {
    let began = Instant::now();
    let kills = Kills::since(memory);
    let mut started = match program::start(job) {
        Ok(started) => started,
        Err(error) => return Some(Yield::failed_of(error.cause(), error.to_string())),
    };
    let program = started.program;
    let stdin = job.command.stdin.as_ref().map_or(&[][..], |stdin| &stdin.0);
    let mut pipes = match Pipes::new(&mut started, stdin) {
        Ok(pipes) => pipes,
        Err(error) => {
            end_all(exits).await;
            return Some(Yield::failed(format!("its outputs cannot be read: {error}")));
        }
    };
    let mut flock = Flock {
        program,
        exit: None,
        stage: Stage::Running,
        stopped: None,
        linger: job.linger,
        grace: job.stop_grace,
        kills,
    };
    let mut listeners = Listeners::default();
    while flock.reap(Instant::now()) {
        let tell_at = pipes.progress().due();
        tokio::select! {
            _ = exits.recv() => {}
            () = pipes.flow() => {}
            heard = wire.hear::<Order<Box<Job>>>() => match heard {
                Ok(Some(Order::Stop(stop))) => flock.stop(stop, Instant::now()),
                Ok(Some(Order::Read { number, read })) => listeners.add(number, read),
                Ok(Some(Order::Forget { number })) => listeners.forget(number),
                Ok(Some(Order::NeighbourKilled(kill))) => flock.kills.explain(kill),
                Ok(Some(Order::Run(_)) | None) | Err(_) => {
                    end_all(exits).await;
                    return None;
                }
            },
            () = sleep_until(flock.stage.deadline()) => flock.handle_deadline(Instant::now()),
            () = sleep_until(tell_at) => {}
        }
        let told = match flock.kills.claim(memory) {
            Some(kill) => wire.say(&Said::<Yield>::Killed(kill)).await,
            None => Ok(()),
        };
        if told.is_err() || tell(&mut pipes, &mut listeners, wire).await.is_err() {
            end_all(exits).await;
            return None;
        }
    }
    if let Some(kill) = flock.kills.claim(memory) {
        wire.say(&Said::<Yield>::Killed(kill)).await.ok()?;
    }
    let (stdout, stderr) = pipes.finish();
    let seen = verdict::Seen {
        exit: flock.exit,
        stopped: flock.stopped.map(|stop| stop.gives),
        stdout,
        stderr,
        duration: began.elapsed(),
        is_over_limit: flock.kills.concern(memory),
    };
    Some(verdict::judge(&job.command, memory, seen))
}

/// Tells the worker what is new of a running program, as far as it wants to know.
async fn tell(pipes: &mut Pipes<'_>, listeners: &mut Listeners, wire: &mut Wire) -> io::Result<()> {
    if let Some(progress) = pipes.progress().take(Instant::now()) {
        wire.say(&Said::<Yield>::Progress(progress)).await?;
    }
    listeners.answer(pipes, wire).await
}

/// Kills everything and waits until it is gone.
async fn end_all(exits: &mut Signals) {
    loop {
        tree::fell(&HashSet::new());
        loop {
            match tree::reap() {
                Reaped::Child(..) => {}
                Reaped::AllAlive => break,
                Reaped::NoneLeft => return,
            }
        }
        tokio::select! {
            _ = exits.recv() => {}
            () = tokio::time::sleep(KILL_PAUSE) => {}
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
