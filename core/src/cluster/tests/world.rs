//! A model of what surrounds the reducer. It does what the reducer asks, as reality would, and
//! holds every answer against what must be true. Here: the store and callers; `leaders` take over, `engine` is Docker,
//! `workers` the processes in its containers, `starts` when a task may be given to one, `clocks` what time it is.

mod clocks;
mod engine;
mod leaders;
mod starts;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clb_protocol::api::{PoolSource, TaskState, VerdictKind};
use clb_protocol::link::Yield;
use clb_protocol::pool::PoolSpec;
use clb_protocol::task::{NewTask, Number, TaskSpec, Work};
use clb_protocol::{
    AttemptNo, Epoch, Generation, OutcomeSeq, PoolName, SlotNo, SubmissionSeq, TaskId, Timestamp, WorkerId,
};

pub(super) use self::engine::container;
use self::workers::{Process, result};
use crate::clock::Moment;
use crate::config::{Config, Definition};
use crate::fleet::Standing;
use crate::input::{Cancellable, Input, LinkNo, Restored, RestoredPool};
use crate::output::{Change, Ending, FleetAction, Order, Output};
use crate::{Cluster, Restoration};

pub(super) const SLOTS: u16 = 2;
pub(super) const STOP_GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub(super) struct Attempt {
    worker: Option<(WorkerId, Epoch, Timestamp)>,
    pub(super) has_ended: bool,
    ended_at: Option<Moment>,
    pub(super) costs: bool,
    pub(super) verdict: Option<VerdictKind>,
}

#[derive(Debug)]
pub(super) struct Row {
    seq: SubmissionSeq,
    submitted_at: Timestamp,
    task: NewTask,
    pub(super) attempts: BTreeMap<AttemptNo, Attempt>,
    pub(super) ending: Option<&'static str>,
}

pub(super) struct World {
    pub(super) now: Moment,
    /// The latest that the clock on the wall ever said.
    latest: Timestamp,
    /// What was decided, where that is to be held against another run.
    pub(super) decisions: Option<Vec<String>>,
    pub(super) cluster: Cluster,
    pub(super) rows: BTreeMap<TaskId, Row>,
    pub(super) containers: BTreeMap<WorkerId, (bool, Process)>,
    pub(super) actions: Vec<FleetAction>,
    /// Images that cannot be had.
    pub(super) missing_images: BTreeSet<String>,
    /// Pools' containers of this version end as soon as they begin.
    pub(super) broken: Option<f64>,
    /// Of what image and program containers are made now.
    pub(super) build: u32,
    /// What the leader found that to be; `None` while the engine does not tell.
    pub(super) build_told: Option<u32>,
    /// How many images the orchestrators are of.
    pub(super) kinds: u32,
    pub(super) config: Config,
    pools: BTreeMap<PoolName, RestoredPool>,
    generations: BTreeMap<(PoolName, SlotNo), Generation>,
    standings: BTreeMap<(PoolName, SlotNo), Standing>,
    unsaved: Vec<TaskId>,
    epoch: Epoch,
    next: u64,
    last_outcome: OutcomeSeq,
}

fn config(workers: u16) -> Config {
    let spec = PoolSpec { workers, first_port: Some(3004), ..PoolSpec::default() };
    let source = PoolSource::Environment;
    Config::new(vec![Definition { name: PoolName::from("default"), spec, source }])
}

impl World {
    /// A fresh cluster whose containers exist, joined and idle.
    pub(super) fn with_workers(workers: u16) -> Self {
        let mut world = Self::empty(workers);
        world.observe();
        world.act();
        world.join_all();
        world
    }

    pub(super) fn empty(workers: u16) -> Self {
        let now = Moment::ORIGIN;
        Self {
            now,
            latest: now.at,
            decisions: None,
            cluster: Restoration::begin(config(workers), Restored::default(), now).finish(now),
            rows: BTreeMap::new(),
            containers: BTreeMap::new(),
            actions: Vec::new(),
            missing_images: BTreeSet::new(),
            broken: None,
            build: 1,
            build_told: Some(1),
            kinds: 1,
            config: config(workers),
            pools: BTreeMap::new(),
            generations: BTreeMap::new(),
            standings: BTreeMap::new(),
            unsaved: Vec::new(),
            epoch: Epoch(0),
            next: 0,
            last_outcome: OutcomeSeq(0),
        }
    }

    pub(super) fn tell(&mut self, input: Input) -> Output {
        self.latest = self.latest.max(self.now.at);
        let out = self.cluster.handle(input, self.now);
        self.write_down(&out);
        for change in &out.changes {
            self.store(change);
        }
        for (link, order) in &out.orders {
            self.obey(*link, *order);
        }
        for (link, task, attempt) in &out.acks {
            if let Some(process) = self.process(*link) {
                process.outbox.retain(|result| (result.task, result.attempt) != (*task, *attempt));
            }
        }
        for link in &out.dropped {
            if let Some(process) = self.process(*link) {
                process.link = None;
            }
        }
        self.actions.extend(out.fleet.iter().cloned());
        if let Err(broken) = self.cluster.check_invariants() {
            panic!("{broken}");
        }
        self.check_store();
        self.check_explanations();
        out
    }

    fn store(&mut self, change: &Change) {
        match change {
            Change::TaskAccepted { seq, at, task } => {
                let (attempts, task) = (BTreeMap::new(), (**task).clone());
                let row = Row { seq: *seq, submitted_at: *at, task, attempts, ending: None };
                let row_id = row.task.id;
                assert!(self.rows.insert(row_id, row).is_none(), "accepted twice");
                self.unsaved.push(row_id);
            }
            Change::AttemptStarted { task, attempt, worker, epoch, at } => {
                let row = self.rows.get_mut(task).expect("a task that was accepted");
                assert!(row.ending.is_none(), "started after its end");
                let open = Attempt { worker: Some((worker.clone(), *epoch, *at)), ..Attempt::default() };
                row.attempts.insert(*attempt, open);
            }
            Change::AttemptEnded { task, attempt, at, verdict, costs } => {
                let row = self.rows.get_mut(task).expect("a task that was accepted");
                let ended = row.attempts.entry(*attempt).or_default();
                ended.has_ended = true;
                assert_eq!(*at, self.now.at);
                ended.ended_at = ended.ended_at.or(Some(self.now));
                ended.costs = *costs;
                ended.verdict = verdict.as_ref().map(|verdict| verdict.kind);
            }
            Change::AttemptJudged { task, attempt, verdict, costs } => {
                let row = self.rows.get_mut(task).expect("a task that was accepted");
                let judged = row.attempts.entry(*attempt).or_default();
                if judged.verdict.is_none() {
                    (judged.has_ended, judged.costs, judged.verdict) = (true, *costs, Some(verdict.kind));
                }
            }
            Change::TaskEnded { seq, task, ending, last, .. } => {
                assert_eq!(*seq, self.last_outcome.next(), "outcomes are numbered without gaps");
                self.last_outcome = *seq;
                let row = self.rows.get_mut(task).expect("a task that was accepted");
                assert!(row.ending.is_none(), "a task ended twice");
                row.ending = Some(match ending {
                    Ending::Succeeded(_) => "succeeded",
                    Ending::Failed(..) => "failed",
                    Ending::Cancelled => "cancelled",
                });
                if let Some(last) = last {
                    row.attempts.entry(last.attempt).or_default().has_ended = true;
                }
            }
            Change::CancelledOutputKept { task, .. } => {
                assert!(self.rows[task].ending.is_some(), "the output comes after the outcome");
            }
            Change::SlotFilled { pool, slot, generation } => {
                self.generations.insert((pool.clone(), *slot), *generation);
            }
            Change::PoolSaved { name, spec, is_paused } => {
                let spec = spec.as_deref().cloned();
                let row = RestoredPool { name: name.clone(), spec, is_paused: *is_paused };
                self.pools.insert(name.clone(), row);
            }
            Change::PoolForgotten(name) => drop(self.pools.remove(name)),
            Change::SlotOrdered { pool, slot, standing } => {
                self.standings.insert((pool.clone(), *slot), *standing);
            }
            Change::Died(_) => {}
        }
    }

    fn check_store(&self) {
        for (id, row) in &self.rows {
            assert_eq!(row.ending.is_none(), self.cluster.is_open(*id), "{id} is lost or undead");
            let costly = row.attempts.values().filter(|attempt| attempt.costs).count();
            assert!(costly <= row.task.spec.max_attempts as usize, "{id} had more attempts than it may");
        }
    }

    /// Some of the open tasks can be explained, and the explanation fits what is so.
    fn check_explanations(&self) {
        for (id, row) in self.rows.iter().filter(|(_, row)| row.ending.is_none()).take(4) {
            let Some(explanation) = self.cluster.explain(*id, self.now) else { continue };
            let is_running = explanation.state == TaskState::Running;
            assert_eq!(explanation.waiting.is_none(), is_running, "{explanation:?}");
            assert!(explanation.summary.ends_with('.'), "{explanation:?}");
            if let Some(placement) = &explanation.placement {
                assert!(row.attempts.contains_key(&placement.attempt), "{explanation:?}");
            }
            if let (true, Some(best)) = (is_running, explanation.candidates.first()) {
                let chosen = explanation.placement.as_ref().map(|placement| &placement.worker);
                assert!(best.is_eligible && chosen == Some(&best.worker), "{explanation:?}");
            }
        }
    }

    fn obey(&mut self, link: LinkNo, order: Order) {
        if let Order::Run(task, attempt) = order {
            self.check_start(link, task, attempt);
        }
        let (epoch, now) = (self.epoch, self.now);
        let Some(process) = self.process(link) else { return };
        match order {
            Order::Run(task, attempt) => {
                assert!(process.running.insert(task, (attempt, epoch, now)).is_none(), "ordered twice");
                assert!(process.running.len() <= usize::from(SLOTS), "more tasks than slots");
            }
            Order::Cancel(task, attempt) => {
                if process.running.get(&task).is_some_and(|(held, ..)| *held == attempt) {
                    process.running.remove(&task);
                    process.outbox.push(result(task, attempt, epoch, cancelled()));
                }
            }
        }
    }

    fn process(&mut self, link: LinkNo) -> Option<&mut Process> {
        self.containers.values_mut().map(|(_, process)| process).find(|process| process.link == Some(link))
    }

    pub(super) fn submit(&mut self, count: usize) -> Vec<TaskId> {
        self.submit_with(count, 3)
    }

    pub(super) fn submit_with(&mut self, count: usize, max_attempts: u32) -> Vec<TaskId> {
        self.submit_like(count, max_attempts, |_| {})
    }

    pub(super) fn submit_like(
        &mut self,
        count: usize,
        max_attempts: u32,
        shape: impl Fn(&mut NewTask),
    ) -> Vec<TaskId> {
        let mut tasks: Vec<NewTask> = (0..count).map(|_| self.new_task(max_attempts)).collect();
        tasks.iter_mut().for_each(shape);
        let ids = tasks.iter().map(|task| task.id).collect();
        self.tell(Input::Submitted(tasks.into_iter().map(Arc::new).collect()));
        ids
    }

    pub(super) fn new_task(&mut self, max_attempts: u32) -> NewTask {
        self.next += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.next.to_be_bytes());
        let work = Work::sleep(0.0, [Number::Integer(0); 2]);
        let spec = TaskSpec { work, max_attempts, timeout: 3_600.0, retry: None };
        NewTask {
            id: TaskId::from_bytes(bytes),
            spec,
            pool: PoolName::from("default"),
            priority: 0,
            not_before: None,
            group: None,
            labels: BTreeMap::new(),
            idempotency_key: None,
            replay_of: None,
        }
    }

    pub(super) fn cancel(&mut self, ids: Vec<TaskId>, which: Cancellable) -> Output {
        self.tell(Input::CancelRequested { ids, which })
    }

    pub(super) fn save(&mut self) {
        let ids = std::mem::take(&mut self.unsaved);
        self.tell(Input::Stored(ids));
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.tell(Input::TimePassed);
    }

    /// Lets everything be well for as long as it takes.
    pub(super) fn calm_down(&mut self) {
        for _ in 0..300 {
            for (_, process) in self.containers.values_mut() {
                process.is_stopped = false;
            }
            self.save();
            self.observe();
            self.act();
            self.join_all();
            let workers: Vec<WorkerId> = self.containers.keys().cloned().collect();
            for worker in &workers {
                for _ in 0..=SLOTS {
                    self.finish(worker, &succeeded());
                }
            }
            if self.rows.values().all(|row| row.ending.is_some()) {
                return;
            }
            self.pass(Duration::from_secs(1));
        }
        let open: BTreeSet<&TaskId> =
            self.rows.iter().filter(|(_, r)| r.ending.is_none()).map(|(id, _)| id).collect();
        panic!("these tasks never end: {open:?}\n{:?}", self.cluster);
    }
}

pub(super) fn succeeded() -> Yield {
    Yield::Succeeded(serde_json::value::to_raw_value("done").unwrap())
}

/// What a command gives that was stopped.
fn cancelled() -> Yield {
    Yield::Cancelled(Some(serde_json::value::to_raw_value("written").unwrap()))
}
