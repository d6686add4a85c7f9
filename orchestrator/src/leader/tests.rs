//! A whole term against a real store, with workers that are played by the tests.

mod clocks;
mod outputs;
mod recent;
mod specs;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clb_core::Config;
use clb_core::config::Definition;
use clb_core::input::{Cancellable, Input, SeenWorker};
use clb_core::output::{CancelReceipt, FleetAction};
use clb_protocol::api::{PoolSource, Progress, TaskState};
use clb_protocol::link::{
    AttemptProgress, AttemptResult, ContainerIdentity, ContainerRole, Welcome, WorkerHello, WorkerOrder,
    WorkerReport, Yield,
};
use clb_protocol::pool::PoolSpec;
use clb_protocol::task::{Changes, NewTask, Number, TaskSpec, Work};
use clb_protocol::{
    AttemptNo, Epoch, Generation, Incarnation, LogSeq, SlotNo, SubmissionSeq, TaskId, Timestamp, WorkerId,
};
use clb_store::sqlite::SqliteStore;
use clb_store::{Claim, LogFilter, LogFrom, Reader, Store};
use serde_json::value::to_raw_value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Beginning, End, Explained, Handle, Keeper, Message, Submitted, Term, Wanted, Whereabouts};
use crate::clock;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) epoch: Epoch,
    pub(crate) handle: Handle,
    actions: mpsc::UnboundedReceiver<FleetAction>,
    term: JoinHandle<End>,
}

fn claim(name: &str) -> Claim {
    Claim { holder: name.into(), url: format!("http://{name}"), public_url: String::new() }
}

/// A term with a place for one worker, which nobody leads yet.
struct Prepared {
    folder: TempDir,
    store: Arc<SqliteStore>,
    epoch: Epoch,
    term: Term,
    handle: Handle,
    actions: mpsc::UnboundedReceiver<FleetAction>,
}

impl Prepared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::new(&folder.path().join("clb.db")));
        assert_eq!(store.lease().unwrap(), None);
        let epoch = store.acquire(&claim("one"), Epoch(0)).unwrap();
        let spec = PoolSpec { first_port: Some(3004), ..PoolSpec::default() };
        let pool = Definition { name: "default".into(), spec, source: PoolSource::Environment };
        let beginning = Beginning {
            config: Config::new(vec![pool]),
            keeper: Keeper::start(Arc::clone(&store) as Arc<dyn Store>, epoch).unwrap(),
            recovered: store.restore(epoch).unwrap(),
            welcome: Welcome { epoch, leader: "one".into(), port: 3002, orchestrators: Vec::new() },
            identity: ContainerIdentity {
                name: "one".into(),
                id: "one".into(),
                role: ContainerRole::Orchestrator,
            },
            client_port: 3001,
            member: None,
            journal: Arc::default(),
            roster: Arc::default(),
        };
        let (fleet, actions) = mpsc::unbounded_channel();
        let (term, handle) = Term::new(beginning, Arc::clone(&store) as Arc<dyn Store>, fleet).unwrap();
        Self { folder, store, epoch, term, handle, actions }
    }
}

impl Bench {
    /// A term with a place for one worker.
    pub(crate) fn start() -> Self {
        let now = clock::now();
        let Prepared { folder, store, epoch, term, handle, actions } = Prepared::new();
        let bench = Self { folder, store, epoch, handle, actions, term: tokio::spawn(term.run()) };
        let observed = Input::FleetObserved { seen: Vec::<SeenWorker>::new(), asked_at: now };
        bench.handle.tell_now(Message::Fact(observed));
        bench
    }

    async fn next_action(&mut self) -> FleetAction {
        timeout(PATIENCE, self.actions.recv()).await.unwrap().unwrap()
    }

    /// The worker that the leader asked for joins.
    pub(crate) async fn join(&mut self) -> Played {
        let hello = self.hello().await;
        let (orders, heard) = mpsc::channel(64);
        let link = self.handle.join(hello, orders).await.unwrap();
        let mut played = Played { handle: self.handle.clone(), link, heard };
        assert!(matches!(played.hear().await, WorkerOrder::Welcome(_)));
        played
    }

    /// What the worker that the leader asked for says first.
    pub(crate) async fn hello(&mut self) -> WorkerHello {
        let FleetAction::Create { worker, .. } = self.next_action().await else { panic!("no container") };
        WorkerHello {
            worker,
            incarnation: Incarnation(uuid::Uuid::now_v7()),
            container: "c".into(),
            port: 3004,
            slots: 4,
            stop_grace: 5.0,
            running: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(crate) async fn end(&mut self) -> End {
        timeout(PATIENCE, &mut self.term).await.unwrap().unwrap()
    }
}

pub(crate) struct Played {
    handle: Handle,
    link: clb_core::input::LinkNo,
    heard: mpsc::Receiver<WorkerOrder>,
}

impl Played {
    /// The next order that is not a ping.
    pub(crate) async fn hear(&mut self) -> WorkerOrder {
        loop {
            match timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap() {
                WorkerOrder::Ping => {}
                order => return order,
            }
        }
    }

    /// Beats as a worker does, as often as the leader.
    async fn beat(&mut self, times: usize) {
        for _ in 0..times {
            let heard = timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap();
            assert!(matches!(heard, WorkerOrder::Ping | WorkerOrder::Welcome(_)), "{heard:?}");
            self.report(WorkerReport::default());
        }
    }

    /// Waits for one task and gives its result.
    async fn run_one(&mut self, epoch: Epoch) -> TaskId {
        let (task, attempt) = self.begin_one().await;
        let gave = Yield::Succeeded(to_raw_value(&BTreeMap::from([("sum", 7)])).unwrap());
        self.give(task, attempt, epoch, gave);
        task
    }

    /// Waits for an order to run a task.
    pub(crate) async fn begin_one(&mut self) -> (TaskId, AttemptNo) {
        let WorkerOrder::Run(orders) = self.hear().await else { panic!("not an order to run") };
        (orders[0].task, orders[0].attempt)
    }

    /// Reports what an attempt gave.
    pub(crate) fn give(&self, task: TaskId, attempt: AttemptNo, epoch: Epoch, gave: Yield) {
        let now = Timestamp::now();
        let result = AttemptResult { task, attempt, epoch, started_at: now, ended_at: now, gave };
        self.report(WorkerReport { finished: vec![result], ..WorkerReport::default() });
    }

    pub(crate) fn report(&self, report: WorkerReport) {
        self.handle.tell_now(Message::Reported { link: self.link, report });
    }
}

pub(crate) fn task() -> NewTask {
    let add = [Number::Integer(3), Number::Integer(4)];
    NewTask {
        id: TaskId::now(),
        spec: TaskSpec { work: Work::sleep(0.0, add), max_attempts: 3, timeout: 60.0, retry: None },
        pool: "default".into(),
        priority: 0,
        not_before: None,
        group: None,
        labels: BTreeMap::new(),
        idempotency_key: None,
        replay_of: None,
    }
}

#[tokio::test]
async fn a_submission_is_on_disk_when_it_is_answered_and_so_is_a_result_when_it_is_acknowledged() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    let answer = bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert!(matches!(answer[..], [(id, Submitted::Accepted(_))] if id == new.id));
    assert!(bench.store.task(new.id).unwrap().is_some());
    assert_eq!(worker.run_one(bench.epoch).await, new.id);
    assert!(matches!(worker.hear().await, WorkerOrder::Ack(acks) if acks[0].0 == new.id));
    let stored = bench.store.task(new.id).unwrap().unwrap();
    assert_eq!((stored.state, stored.attempts.len()), (TaskState::Succeeded, 1));
}

#[tokio::test]
async fn who_waits_for_a_task_is_told_when_its_outcome_can_be_read() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let waiting = tokio::spawn({
        let handle = bench.handle.clone();
        async move { handle.ended(new.id).await }
    });
    worker.run_one(bench.epoch).await;
    timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(bench.store.outcomes(clb_protocol::OutcomeSeq(0), None, 9).unwrap().outcomes.len(), 1);
}

#[tokio::test]
async fn a_large_submission_is_answered_as_a_whole_and_in_its_order() {
    let bench = Bench::start();
    let tasks: Vec<NewTask> = (0..5_500).map(|_| task()).collect();
    let mut again = tasks.clone();
    again[5_400] = task();
    for (tasks, expected) in [(&tasks, 5_500), (&again, 1)] {
        let answer = bench.handle.submit(tasks.iter().cloned()).await.unwrap();
        let ids = |answer: &[(TaskId, Submitted)]| answer.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(&answer), tasks.iter().map(|task| task.id).collect::<Vec<_>>());
        let accepted = answer.iter().filter(|(_, status)| matches!(status, Submitted::Accepted(_)));
        assert_eq!(accepted.count(), expected);
    }
    let open = bench.store.open_tasks(bench.epoch, SubmissionSeq(0), 10_000).unwrap();
    assert_eq!(open.len(), 5_501);
}

#[tokio::test]
async fn submitting_a_task_that_has_ended_is_known_and_runs_nothing() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    worker.run_one(bench.epoch).await;
    bench.handle.ended(new.id).await.unwrap();
    let again = bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert_eq!(again, [(new.id, Submitted::Known)]);
    assert_eq!(bench.handle.show().await.unwrap().tasks.queued, 0);
}

#[tokio::test]
async fn a_leader_whose_term_is_over_changes_nothing_and_answers_nothing() {
    let mut bench = Bench::start();
    bench.store.acquire(&claim("two"), bench.epoch).unwrap();
    let new = task();
    assert_eq!(bench.handle.submit(vec![new.clone()]).await, None);
    assert!(bench.store.task(new.id).unwrap().is_none());
    let next = bench.epoch.next();
    assert!(matches!(bench.end().await, End::Fenced(epoch) if epoch == next));
}

#[tokio::test]
async fn stepping_down_gives_the_lease_up() {
    let mut bench = Bench::start();
    bench.handle.tell(Message::StepDown).await;
    assert!(matches!(bench.end().await, End::SteppedDown));
    assert!(bench.store.lease().unwrap().unwrap().is_released);
}

#[tokio::test]
async fn a_retired_cluster_has_no_workers_and_keeps_its_tasks() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert!(matches!(worker.hear().await, WorkerOrder::Run(_)));
    let retiring = tokio::spawn({
        let handle = bench.handle.clone();
        async move { handle.retire().await }
    });
    let buried = loop {
        if let FleetAction::Bury { worker, .. } = bench.next_action().await {
            break worker;
        }
    };
    assert_eq!(buried, WorkerId { pool: "default".into(), slot: SlotNo(1), generation: Generation(1) });
    let remains = clb_core::fleet::Remains::default();
    bench.handle.tell(Message::Fact(Input::Buried { worker: buried, remains })).await;
    timeout(PATIENCE, retiring).await.unwrap().unwrap().unwrap();
    bench.handle.tell(Message::StepDown).await;
    assert!(matches!(bench.end().await, End::SteppedDown));
    assert_eq!(bench.store.task(new.id).unwrap().unwrap().state, TaskState::Queued);
}

#[tokio::test]
async fn the_leaders_words_reach_the_store() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    worker.run_one(bench.epoch).await;
    bench.handle.tell(Message::StepDown).await;
    bench.end().await;
    let filter = LogFilter { container: Some("one".into()), task: Some(new.id) };
    let lines = bench.store.logs(&filter, LogFrom::After(LogSeq(0)), 100).unwrap().logs;
    let words: Vec<&str> = lines.iter().filter_map(|line| line.message.split(':').next()).collect();
    assert_eq!(words, ["Received payload", "Sent payload", "Received result", "Sent result"]);
}

#[tokio::test]
async fn a_task_is_explained_while_it_waits_while_it_runs_and_after() {
    let mut bench = Bench::start();
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let Explained::Open(waits) = bench.handle.explain(new.id).await.unwrap() else { panic!("it is open") };
    assert_eq!((waits.state, waits.waiting.is_some()), (TaskState::Queued, true));
    let mut worker = bench.join().await;
    let Explained::Open(runs) = bench.handle.explain(new.id).await.unwrap() else { panic!("it is open") };
    assert_eq!((runs.state, runs.candidates.len()), (TaskState::Running, 1));
    worker.run_one(bench.epoch).await;
    bench.handle.ended(new.id).await.unwrap();
    let Explained::Ended(Some((placement, _))) = bench.handle.explain(new.id).await.unwrap() else {
        panic!("it is forgotten already")
    };
    assert_eq!(Some(placement), runs.placement);
    assert_eq!(bench.handle.explain(TaskId::now()).await, Some(Explained::Ended(None)));
}

#[tokio::test]
async fn many_are_cancelled_in_one_go_and_that_is_on_disk_when_it_is_answered() {
    let bench = Bench::start();
    let tasks: Vec<NewTask> = (0..50).map(|_| task()).collect();
    let mut ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    bench.handle.submit(tasks).await.unwrap();
    ids.push(TaskId::now());
    let spared = bench.handle.cancel(ids.clone(), Cancellable::Running).await.unwrap().unwrap();
    assert_eq!(spared.iter().filter(|receipt| **receipt == CancelReceipt::Spared).count(), 50);
    let receipts = bench.handle.cancel(ids.clone(), Cancellable::Open).await.unwrap().unwrap();
    assert_eq!(receipts.last(), Some(&CancelReceipt::NotOpen));
    assert!(receipts[..50].iter().all(|receipt| *receipt == CancelReceipt::Cancelled));
    for id in &ids[..50] {
        assert_eq!(bench.store.task(*id).unwrap().unwrap().state, TaskState::Cancelled);
    }
}

#[tokio::test]
async fn of_two_replays_of_a_task_one_is_known() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    worker.run_one(bench.epoch).await;
    assert!(matches!(worker.hear().await, WorkerOrder::Ack(_)));
    let original = bench.store.originals(&[new.id]).unwrap().pop().unwrap();
    let [first, second] = [TaskId::now(), TaskId::now()];
    let both = [first, second].map(|id| original.clone().again(id, &Changes::default()).unwrap()).to_vec();
    let answer = bench.handle.submit(both).await.unwrap();
    assert!(matches!(answer[..], [(_, Submitted::Accepted(_)), (_, Submitted::Known)]), "{answer:?}");
    assert_eq!(bench.store.originals(&[new.id]).unwrap()[0].replay, Some(first));
    assert_eq!(worker.run_one(bench.epoch).await, first);
    bench.handle.ended(first).await.unwrap();
    assert!(bench.store.task(second).unwrap().is_none());
}
