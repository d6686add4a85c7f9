//! One place in a pool and the container that fills it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use clb_protocol::api::{Usage, Verdict};
use clb_protocol::{
    AttemptNo, ContainerId, Generation, Incarnation, PoolName, PoolVersion, SlotNo, TaskId, WorkerId,
};

use crate::build::Build;
use crate::clock::Moment;
use crate::input::{LinkNo, SeenWorker};
use crate::placement::Load;

use super::Backoff;

/// How many samples of a container's use are kept for its obituary: a minute of them.
const USAGE_SAMPLES: usize = 60;

/// A place in a pool.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The pool.
    pub pool: PoolName,
    /// The place.
    pub no: SlotNo,
    /// The newest container's generation; 0 before the first.
    pub generation: Generation,
    /// Where its worker listens inside of its container.
    pub port: u16,
    /// The port on the host, where it has one.
    pub published: Option<u16>,
    /// What its container is made of; `None` without one, and for another leader's before Docker was asked.
    pub version: Option<PoolVersion>,
    /// Of which image or program it is, where another leader made it: what this one makes is of what there is.
    pub build: Option<Build>,
    /// What somebody ordered for it.
    pub standing: Standing,
    /// What the pool means to do with it.
    pub course: Course,
    /// What fills it.
    pub stage: Stage,
    /// Since when it is like this.
    pub since: Moment,
    /// Its record of deaths.
    pub backoff: Backoff,
    /// Why it is like this, for people.
    pub reason: Option<String>,
    /// Attempts that were lost here and have no verdict yet.
    pub unjudged: Vec<(TaskId, AttemptNo)>,
    /// Since when there are such attempts.
    pub unjudged_since: Moment,
    /// The last signal that somebody sent to the container through Docker.
    pub signalled: Option<i64>,
}

/// What somebody ordered for a slot; it outlives the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Its worker takes tasks.
    #[default]
    Serve,
    /// Its worker takes none, until told otherwise.
    Drain,
    /// Its worker takes none and is replaced once it has finished.
    Restart,
}

/// What a pool means to do with a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// Keep it.
    #[default]
    Stay,
    /// Let its worker finish and make a new one.
    Replace,
    /// Let its worker finish and give the slot up.
    Retire,
}

/// What fills a slot.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Nothing; a container may be made from this time on.
    Vacant {
        /// From when.
        not_before: Moment,
    },
    /// A container is being made or has not joined yet.
    Starting {
        /// Docker's id, once it is known.
        container: Option<ContainerId>,
    },
    /// A container that serves or did a moment ago.
    Up(Box<Worker>),
    /// A container that is being looked at and removed.
    Burying {
        /// What it was, for its obituary; `None` when it never joined.
        worker: Option<Box<Worker>>,
        /// Why it had to go, when that was the leader's decision.
        cause: Option<Verdict>,
    },
}

/// A worker that has joined, or that was found alive by a new leader.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Docker's id of its container.
    pub container: ContainerId,
    /// Its process; `None` before it joined this leader.
    pub incarnation: Option<Incarnation>,
    /// How many tasks it runs at once.
    pub slots: u16,
    /// How long its programs have to end once they are asked to: what its pool said when it was made. `None`
    /// before it joined this leader.
    pub stop_grace: Option<Duration>,
    /// Its connection.
    pub link: Link,
    /// What occupies its slots. A cancelled attempt stays until the worker has let go of it.
    pub running: BTreeMap<TaskId, Held>,
    /// Since when it takes no more because it is being stopped.
    pub leaving_since: Option<Moment>,
    /// What it uses and is expected to use.
    pub load: Load,
    /// Its last minute, oldest first.
    pub usage: VecDeque<Usage>,
    /// The highest memory use seen, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Results that it gave.
    pub tasks_done: u64,
    /// When it was last given a task, as a count of all tasks given.
    pub last_given: u64,
    /// Since when it serves.
    pub ready_at: Moment,
}

/// An attempt that occupies a slot of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub attempt: AttemptNo,
    /// Since when, by this leader's own clock.
    pub since: Moment,
}

/// A worker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It was found alive and should join.
    Awaited {
        /// Until when that is hoped for.
        until: Moment,
    },
    /// It is connected.
    Open {
        /// Which link.
        no: LinkNo,
        /// When it was last heard.
        heard_at: Moment,
    },
    /// Its connection closed; it may come back.
    Closed {
        /// When.
        since: Moment,
    },
    /// It simulates a crash.
    Stopped {
        /// Since when.
        since: Moment,
    },
}

impl Slot {
    /// An empty slot.
    #[must_use]
    pub fn vacant(pool: PoolName, no: SlotNo, port: u16, generation: Generation, now: Moment) -> Self {
        Self {
            pool,
            no,
            generation,
            port,
            published: None,
            version: None,
            build: None,
            standing: Standing::Serve,
            course: Course::Stay,
            stage: Stage::Vacant { not_before: now },
            since: now,
            backoff: Backoff::default(),
            reason: None,
            unjudged: Vec::new(),
            unjudged_since: now,
            signalled: None,
        }
    }

    /// Which place it is.
    #[must_use]
    pub fn key(&self) -> (PoolName, SlotNo) {
        (self.pool.clone(), self.no)
    }

    /// The worker that the newest generation is.
    #[must_use]
    pub fn worker_id(&self) -> WorkerId {
        WorkerId { pool: self.pool.clone(), slot: self.no, generation: self.generation }
    }

    /// The worker, where there is one.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match &self.stage {
            Stage::Up(worker) => Some(worker),
            _ => None,
        }
    }

    /// The worker, where there is one.
    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.stage {
            Stage::Up(worker) => Some(worker),
            _ => None,
        }
    }

    /// Whether its worker may be given tasks as far as anybody's wishes go.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.standing == Standing::Serve && self.course == Course::Stay
    }

    /// Whether its worker takes tasks.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        let is_ready = |worker: &Worker| worker.open_link().is_some() && worker.leaving_since.is_none();
        self.takes_tasks() && self.worker().is_some_and(is_ready)
    }

    /// Docker's id of the container that fills it.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        match &self.stage {
            Stage::Vacant { .. } => None,
            Stage::Starting { container } => container.as_ref(),
            Stage::Up(worker) => Some(&worker.container),
            Stage::Burying { worker, .. } => worker.as_ref().map(|worker| &worker.container),
        }
    }

    /// Takes in how its container is made, which another leader had done.
    pub(super) fn recognize(&mut self, seen: &SeenWorker) {
        self.version = Some(seen.version);
        self.build.clone_from(&seen.build);
        self.port = seen.port.unwrap_or(self.port);
        self.published = seen.published;
    }

    /// Takes in what its container is made of, which this leader had done. It was made of what there was at that
    /// moment, which may be newer than `now` is known: only what is the same tells something, or one would be
    /// replaced by its like again and again.
    pub(super) fn learn_build(&mut self, seen: &SeenWorker, now: Option<&Build>) {
        if self.build.is_none() && self.container() == Some(&seen.container) && seen.build.as_ref() == now {
            self.build.clone_from(&seen.build);
        }
    }

    /// Its container is no more.
    pub(super) fn forget_container(&mut self) {
        (self.version, self.build) = (None, None);
    }

    /// Whether it may have a container now, as far as its record goes.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        matches!(self.stage, Stage::Vacant { not_before } if not_before <= now)
    }

    /// Where it is empty it need not wait any longer.
    pub(super) fn hurry(&mut self, now: Moment) {
        if let Stage::Vacant { not_before } = &mut self.stage {
            *not_before = now.min(*not_before);
        }
    }

    /// Moves it on.
    pub(super) fn enter(&mut self, stage: Stage, reason: Option<String>, now: Moment) {
        self.stage = stage;
        self.reason = reason;
        self.since = now;
    }
}

impl Worker {
    /// A worker that is there and has not spoken yet.
    #[must_use]
    pub fn awaited(container: ContainerId, until: Moment, now: Moment) -> Self {
        Self {
            container,
            incarnation: None,
            slots: 0,
            stop_grace: None,
            link: Link::Awaited { until },
            running: BTreeMap::new(),
            leaving_since: None,
            load: Load::default(),
            usage: VecDeque::new(),
            memory_peak_bytes: None,
            tasks_done: 0,
            last_given: 0,
            ready_at: now,
        }
    }

    /// Its open link.
    #[must_use]
    pub fn open_link(&self) -> Option<LinkNo> {
        match self.link {
            Link::Open { no, .. } => Some(no),
            _ => None,
        }
    }

    /// Whether this attempt occupies one of its slots.
    #[must_use]
    pub fn holds(&self, task: TaskId, attempt: AttemptNo) -> bool {
        self.running.get(&task).is_some_and(|held| held.attempt == attempt)
    }

    /// An attempt occupies no slot any more; `false` when it did not.
    pub(super) fn release(&mut self, task: TaskId, attempt: AttemptNo) -> bool {
        let is_held = self.holds(task, attempt);
        if is_held {
            self.running.remove(&task);
            self.load.release();
        }
        is_held
    }

    /// How many tasks it can be given.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        if self.open_link().is_some() && self.leaving_since.is_none() {
            usize::from(self.slots).saturating_sub(self.running.len())
        } else {
            0
        }
    }

    /// By when it must have said that an attempt outran its timeout: what runs then is asked to end, and killed
    /// after its grace. `None` while it did not say how long that is.
    #[must_use]
    pub fn says_of_timeout_by(&self, since: Moment, timeout: Duration, margin: Duration) -> Option<Moment> {
        self.stop_grace.map(|grace| since + timeout + grace + margin)
    }

    /// Takes in a sample.
    pub(super) fn measure(&mut self, usage: Usage, cpus: f64) {
        let memory = usage.memory_bytes as f64 / (usage.memory_limit_bytes.max(1)) as f64;
        self.load.measure(usage.cpu_percent / 100.0 / cpus.max(0.01), memory);
        self.memory_peak_bytes = self.memory_peak_bytes.max(Some(usage.memory_bytes));
        if self.usage.len() == USAGE_SAMPLES {
            self.usage.pop_front();
        }
        self.usage.push_back(usage);
    }
}
