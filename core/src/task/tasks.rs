//! All tasks that have not ended, with everything that is known by where they stand: the queue, those asleep, why
//! they were placed where they run, and how many there are.
//!
//! A phase is written in one place, `Places::enter`, and left in one, `Places::leave`, so that all of that stays in
//! step. Not here: whether a task may go from one phase to another, which the cluster decides.

use std::collections::BTreeMap;

use clb_protocol::api::TaskCounts;
use clb_protocol::task::NewTask;
use clb_protocol::{AttemptNo, OutcomeSeq, PoolName, SubmissionSeq, TaskId, Timestamp};

use crate::clock::Moment;
use crate::input::RestoredTask;
use crate::lookup::Lookup;
use crate::output::Ending;
use crate::placement::{Memory, Placed};
use crate::queue::{Queue, Turn};

use super::asleep::Asleep;
use super::{Phase, RunningAttempt, Task};

/// See the module.
#[derive(Debug)]
pub(crate) struct Tasks {
    open: Lookup<TaskId, Task>,
    places: Places,
    /// How many tasks of each pool are open.
    open_in: BTreeMap<PoolName, u64>,
    last_submission: SubmissionSeq,
    last_outcome: OutcomeSeq,
    /// Succeeded, failed, cancelled.
    ended: [u64; 3],
}

/// What is known of tasks by where they stand.
#[derive(Debug, Default)]
struct Places {
    queue: Queue,
    asleep: Asleep,
    placements: Memory,
    running: u64,
}

impl Places {
    /// Puts a task that stands nowhere into a phase.
    fn enter(&mut self, id: TaskId, task: &mut Task, phase: Phase) {
        task.phase = phase;
        match &task.phase {
            Phase::Queued => self.queue.push(id, task),
            Phase::Resting { .. } | Phase::Deferred { .. } => self.asleep.add(id, &task.phase),
            Phase::Running(_) => self.running += 1,
            Phase::Accepted { .. } | Phase::Undecided(_) => {}
        }
    }

    /// Takes a task from where it stands.
    fn leave(&mut self, id: TaskId, task: &Task) {
        match &task.phase {
            Phase::Queued => self.queue.remove(id, task),
            Phase::Resting { .. } | Phase::Deferred { .. } => self.asleep.remove(id, &task.phase),
            Phase::Running(running) => {
                self.placements.let_go(id, running.attempt);
                self.running -= 1;
            }
            Phase::Accepted { .. } | Phase::Undecided(_) => {}
        }
    }

    /// Takes a task from where it stands into another phase.
    fn move_to(&mut self, id: TaskId, task: &mut Task, phase: Phase) {
        self.leave(id, task);
        self.enter(id, task, phase);
    }
}

/// Where a task is to run, and why there.
pub(crate) struct Placing {
    pub(crate) running: RunningAttempt,
    pub(crate) placed: Placed,
}

/// A task that has just ended, and where it stood until then.
pub(crate) struct Ended {
    pub(crate) seq: OutcomeSeq,
    pub(crate) phase: Phase,
}

impl Tasks {
    /// None are open, and so many have ended before.
    pub(crate) fn new(last_submission: SubmissionSeq, last_outcome: OutcomeSeq, ended: [u64; 3]) -> Self {
        let (open, places, open_in) = (Lookup::default(), Places::default(), BTreeMap::new());
        Self { open, places, open_in, last_submission, last_outcome, ended }
    }

    /// Takes in a submission, which nobody may run before it is stored.
    pub(crate) fn accept(&mut self, new: &NewTask, waits_since: Timestamp) -> SubmissionSeq {
        self.last_submission = self.last_submission.next();
        let phase = Phase::Accepted { not_before: new.not_before };
        let task = Task {
            seq: self.last_submission,
            pool: new.pool.clone(),
            turn: Turn::new(waits_since, new.priority),
            max_attempts: new.spec.max_attempts,
            spent: 0,
            last_attempt: AttemptNo(0),
            timeout_ms: (new.spec.timeout * 1_000.0) as u64,
            retry: new.spec.retry.map(Box::new),
            phase: phase.clone(),
        };
        self.insert(new.id, task, phase);
        self.last_submission
    }

    /// Takes in what a former leader left.
    pub(crate) fn restore(&mut self, row: RestoredTask, now: Moment) {
        let id = row.id;
        // One that came before the clock was set back did not come in the future.
        let comes_at = row.submitted_at.min(now.at);
        let waits_since = row.not_before.map_or(comes_at, |until| until.max(comes_at));
        let task = Task {
            seq: row.seq,
            pool: row.pool,
            turn: Turn::new(waits_since, row.priority),
            max_attempts: row.max_attempts,
            spent: row.spent,
            last_attempt: row.last_attempt,
            timeout_ms: (row.timeout_seconds * 1_000.0) as u64,
            retry: row.retry.map(Box::new),
            // Until it is known below where it stands.
            phase: Phase::Queued,
        };
        let rested = || {
            let since = row.rests_since?;
            let rest = task.rest(id)?;
            // However the clock was set since then, it rests no longer than it would have.
            Some((since + rest).since(now.at).min(rest)).filter(|left| !left.is_zero())
        };
        let phase = match (row.open, row.unjudged.last()) {
            (Some(open), _) => Phase::Running(Box::new(open)),
            (None, Some(lost)) if task.is_exhausted() => Phase::Undecided(Box::new(lost.clone())),
            (None, _) => match (row.not_before.filter(|until| *until > now.at), rested()) {
                (Some(until), _) => Phase::Deferred { until },
                (None, Some(left)) => Phase::Resting { until: Box::new(now + left) },
                (None, None) => Phase::Queued,
            },
        };
        self.insert(id, task, phase);
    }

    fn insert(&mut self, id: TaskId, mut task: Task, phase: Phase) {
        match self.open_in.get_mut(&task.pool) {
            Some(open) => *open += 1,
            None => drop(self.open_in.insert(task.pool.clone(), 1)),
        }
        self.places.enter(id, &mut task, phase);
        self.open.insert(id, task);
    }

    fn remove(&mut self, id: TaskId) -> Option<Task> {
        let task = self.open.remove(&id)?;
        if let Some(open) = self.open_in.get_mut(&task.pool) {
            *open -= 1;
        }
        self.places.leave(id, &task);
        Some(task)
    }

    /// A submission is not on disk and never will be.
    pub(crate) fn forget(&mut self, id: TaskId) {
        if self.open.get(&id).is_some_and(|task| !task.is_stored()) {
            self.remove(id);
        }
    }

    /// A submission is on disk: from now on it waits for a slot, or for its time.
    pub(crate) fn store(&mut self, id: TaskId, now: Moment) {
        let Some(task) = self.open.get_mut(&id) else { return };
        let Phase::Accepted { not_before } = task.phase else { return };
        let put_off = not_before.filter(|until| *until > now.at);
        let phase = put_off.map_or(Phase::Queued, |until| Phase::Deferred { until });
        self.places.move_to(id, task, phase);
    }

    /// Starts the task that goes next in a pool where `place` says; `false` when there is none, or no place for it.
    pub(crate) fn start_next(
        &mut self,
        pool: &PoolName,
        place: impl FnOnce(TaskId, AttemptNo) -> Option<Placing>,
    ) -> bool {
        let Some(id) = self.places.queue.pop(pool) else { return false };
        let Some(task) = self.open.get_mut(&id) else { return false };
        let attempt = task.last_attempt.next();
        let Some(Placing { running, placed }) = place(id, attempt) else {
            self.places.queue.push(id, task);
            return false;
        };
        task.last_attempt = attempt;
        self.places.enter(id, task, Phase::Running(Box::new(running)));
        self.places.placements.remember(id, placed);
        true
    }

    /// An attempt that was given up goes on.
    pub(crate) fn resume(&mut self, id: TaskId, running: RunningAttempt) {
        let Some(task) = self.open.get_mut(&id) else { return };
        task.last_attempt = task.last_attempt.max(running.attempt);
        self.places.move_to(id, task, Phase::Running(Box::new(running)));
    }

    /// Counts the attempt that runs against its task's limit; `None` when none runs.
    pub(crate) fn charge(&mut self, id: TaskId) -> Option<&Task> {
        let task = self.open.get_mut(&id)?;
        task.running()?;
        task.spent += 1;
        Some(task)
    }

    /// An attempt that was counted costs nothing after all.
    pub(crate) fn refund(&mut self, id: TaskId) {
        if let Some(task) = self.open.get_mut(&id) {
            task.spent -= 1;
        }
    }

    /// A task goes into the queue, to its old place.
    pub(crate) fn put_back(&mut self, id: TaskId) {
        if let Some(task) = self.open.get_mut(&id) {
            self.places.move_to(id, task, Phase::Queued);
        }
    }

    /// A task whose attempt counted goes back into the queue, at once or after a rest.
    pub(crate) fn come_back(&mut self, id: TaskId, now: Moment) {
        let Some(task) = self.open.get_mut(&id) else { return };
        let until = |rest| Phase::Resting { until: Box::new(now + rest) };
        let phase = task.rest(id).map_or(Phase::Queued, until);
        self.places.move_to(id, task, phase);
    }

    /// The last attempt of a task was lost: whether it ends with that is not known yet.
    pub(crate) fn await_verdict(&mut self, id: TaskId) {
        let Some(task) = self.open.get_mut(&id) else { return };
        let Phase::Running(lost) = &task.phase else { return };
        let lost = lost.clone();
        self.places.move_to(id, task, Phase::Undecided(lost));
    }

    /// Tasks that have waited for their time go into the queue.
    pub(crate) fn wake(&mut self, now: Moment) {
        while let Some(id) = self.places.asleep.due(now) {
            self.put_back(id);
        }
    }

    /// A task has its outcome.
    pub(crate) fn end(&mut self, id: TaskId, ending: &Ending) -> Option<Ended> {
        let task = self.remove(id)?;
        self.ended[match ending {
            Ending::Succeeded(_) => 0,
            Ending::Failed(..) => 1,
            Ending::Cancelled => 2,
        }] += 1;
        self.last_outcome = self.last_outcome.next();
        Some(Ended { seq: self.last_outcome, phase: task.phase })
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        self.open.get(&id)
    }

    pub(crate) fn contains(&self, id: TaskId) -> bool {
        self.open.contains(&id)
    }

    pub(crate) fn running(&self, id: TaskId) -> Option<&RunningAttempt> {
        self.open.get(&id).and_then(Task::running)
    }

    /// Whether a task is running and this is the attempt that runs.
    pub(crate) fn is_current(&self, id: TaskId, attempt: AttemptNo) -> bool {
        self.running(id).is_some_and(|running| running.attempt == attempt)
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        let [succeeded, failed, cancelled] = self.ended;
        let (open, running) = (self.open.len() as u64, self.places.running);
        TaskCounts { queued: open - running, running, succeeded, failed, cancelled }
    }

    /// How many have not ended and are not running.
    pub(crate) fn waiting(&self) -> usize {
        self.open.len().saturating_sub(usize::try_from(self.places.running).unwrap_or(usize::MAX))
    }

    pub(crate) fn any_runs(&self) -> bool {
        self.places.running > 0
    }

    /// How many tasks of a pool have not ended.
    pub(crate) fn open_in(&self, pool: &PoolName) -> u64 {
        self.open_in.get(pool).copied().unwrap_or_default()
    }

    /// Whether a task of a pool waits for a slot.
    pub(crate) fn any_queued_in(&self, pool: &PoolName) -> bool {
        !self.places.queue.is_empty(pool)
    }

    /// How many tasks go before this one.
    pub(crate) fn ahead(&self, id: TaskId, task: &Task) -> usize {
        self.places.queue.ahead(id, task)
    }

    /// When the next one goes on by itself.
    pub(crate) fn next_wake(&self, now: Moment) -> Option<Moment> {
        self.places.asleep.next(now)
    }

    /// Why a task was placed where it runs, or ran last, while that is remembered.
    pub(crate) fn placed(&self, id: TaskId) -> Option<&Placed> {
        self.places.placements.get(id)
    }

    /// Whether `holds` is true of every one.
    pub(crate) fn all(&self, holds: impl FnMut(&TaskId, &Task) -> bool) -> bool {
        self.open.all(holds)
    }

    /// Whether every task is known where it stands, and only there.
    pub(crate) fn check(&self) -> Result<(), String> {
        let places = &self.places;
        let (mut queued, mut running, mut asleep) = (0, 0, 0);
        let mut open_in = BTreeMap::new();
        let mut broken = None;
        self.open.all(|id, task| {
            *open_in.entry(task.pool.clone()).or_insert(0_u64) += 1;
            let is_queued = places.queue.contains(*id, task);
            let is_asleep = places.asleep.contains(*id, &task.phase);
            queued += usize::from(is_queued);
            asleep += usize::from(is_asleep);
            running += u64::from(task.running().is_some());
            let is_bounded = task.spent <= task.max_attempts && task.spent <= task.last_attempt.0;
            let (may_go_on, is_there) = match task.phase {
                Phase::Accepted { .. } => (true, !is_queued),
                Phase::Queued => (!task.is_exhausted(), is_queued),
                Phase::Resting { .. } | Phase::Deferred { .. } => {
                    (!task.is_exhausted(), is_asleep && !is_queued)
                }
                Phase::Running(_) => (!task.is_exhausted(), !is_queued),
                Phase::Undecided(_) => (task.is_exhausted(), !is_queued),
            };
            let holds = is_bounded && may_go_on && is_there;
            if !holds {
                broken = Some(format!("{id} is not where the queue sees it: {task:?}"));
            }
            holds
        });
        if let Some(broken) = broken {
            return Err(broken);
        }
        if queued != places.queue.len() {
            return Err(format!("{} tasks are queued, {queued} of them are known", places.queue.len()));
        }
        if running != places.running {
            return Err(format!("{running} tasks run, {} are counted", places.running));
        }
        if asleep != places.asleep.len() {
            return Err(format!("{} tasks are to be woken, {asleep} of them sleep", places.asleep.len()));
        }
        if !places.placements.is_bounded(usize::try_from(running).unwrap_or(usize::MAX)) {
            return Err("more placements are remembered than may be".to_owned());
        }
        for (pool, count) in &self.open_in {
            let found = open_in.remove(pool).unwrap_or_default();
            if found != *count {
                return Err(format!("{found} tasks of {pool} are open, {count} are counted"));
            }
        }
        match open_in.first_key_value() {
            Some((pool, found)) => Err(format!("{found} tasks of {pool} are open, none are counted")),
            None => Ok(()),
        }
    }
}
