//! Running programs. The worker never runs one itself: each is kept by a shepherd, a small process of
//! its own that runs one program at a time.
//!
//! A shepherd is a "child subreaper": whatever its program starts, and however that tries to get away
//! (another session, a double fork, an empty environment), stays among the shepherd's descendants. The
//! task has ended when the kernel says that the shepherd has no children left, and not before.
//!
//! ```text
//! worker (Shepherds) ──Job, Stop, Read, Forget─> shepherd ──spawn, signals──> program and its descendants
//!                    <──Piece, Progress, Yield──         <──exits, outputs──
//! ```
//!
//! All programs of a worker share its memory limit, and the kernel only counts whom it killed over it. Whose process it
//! was knows the shepherd that reaped it, and it tells the others.
//!
//! What a program has written so far stays with its shepherd and is sent only to who asks for it, piece by
//! piece: a reader that is slow or absent holds up neither the program nor the worker.
//!
//! Both speak JSON lines over a socket. When the worker closes it, the shepherd kills everything and
//! ends; when a shepherd is killed, the worker kills what it left behind.
//!
//! Not here: when a program is to be stopped, which the agent decides.

mod flock;
mod piece;
mod readers;
mod shepherd;
mod tree;
mod wire;

use std::time::Duration;

use clb_protocol::api::Progress;
use clb_protocol::task::Command;
use serde::{Deserialize, Serialize};

use super::AttemptKey;

pub use flock::{Launcher, Shepherds};
pub use piece::{Piece, Read};
pub use shepherd::{SHEPHERD, main as shepherd_main};

/// A program to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// For which attempt.
    pub key: AttemptKey,
    /// What its task belongs to.
    pub group: Option<String>,
    /// The program.
    pub command: Command,
    /// How long what it leaves running may go on by itself, before it is asked to stop.
    pub linger: Duration,
    /// How long that may take then, before everything is killed.
    pub stop_grace: Duration,
}

/// What a worker says to a shepherd.
#[derive(Debug, Serialize, Deserialize)]
enum Order<J> {
    /// Run this. Not said again before its end.
    Run(J),
    /// Stop it. May come when it has ended already.
    Stop(Stop),
    /// Tell what it wrote. May come when it has ended already, and has no answer then.
    Read {
        /// Comes back with the answer.
        number: u64,
        /// What is wanted.
        read: Read,
    },
    /// Nobody waits for that answer any more. May come when it was given already.
    Forget {
        /// Which.
        number: u64,
    },
    /// Another shepherd lost a process to the kernel, over the memory limit that all share.
    NeighbourKilled(Kill),
}

/// A process was killed over the memory limit: the last of so many in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kill {
    kills: u64,
}

/// What a shepherd says to its worker.
#[derive(Debug, Serialize, Deserialize)]
enum Said<Y> {
    /// The program and all of its descendants are gone. Said once for each program, last.
    Ended(Y),
    /// The answer to a `Read`.
    Piece {
        /// Which.
        number: u64,
        /// What there is.
        piece: Piece,
    },
    /// How far the program says it is.
    Progress(Progress),
    /// The kernel killed a process of the program over the memory limit. Said once for each program.
    Killed(Kill),
}

/// Has a program stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What the attempt gives then, unless the program ended before.
    pub gives: StopGives,
    /// How long it may take before everything is killed.
    pub grace: Duration,
}

/// What a stopped attempt gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopGives {
    /// It outran its timeout.
    TimedOut,
    /// It was cancelled.
    Cancelled,
}
