//! Things to store.

use std::time::Duration;

use clb_core::input::RestoredTask;
use clb_core::output::{Change, Ending, LastAttempt};
use clb_protocol::api::{Obituary, Verdict, VerdictKind};
use clb_protocol::link::{ContainerIdentity, ContainerRole};
use clb_protocol::task::{Labels, NewTask, Number, TaskSpec, Work};
use clb_protocol::{
    AttemptNo, ContainerNo, Epoch, Generation, LogSeq, OutcomeSeq, SlotNo, SubmissionSeq, TaskId, Timestamp,
    WorkerId,
};
use serde_json::value::RawValue;

use crate::{Batch, Claim, Committed, LogEntry, Registration, Result, Store};

/// Seconds of the tests' clock.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp(1_800_000_000_000_000) + Duration::from_secs(seconds)
}

pub(super) fn claim(name: &str) -> Claim {
    Claim {
        holder: name.into(),
        url: format!("http://{name}:3002"),
        public_url: "http://127.0.0.1:3002".into(),
    }
}

/// Begins the term after `seen`.
pub(super) fn lead(store: &impl Store, seen: u64) -> Epoch {
    store.acquire(&claim("orchestrator-1"), Epoch(seen)).unwrap()
}

/// Every open task, read in small pages.
pub(super) fn open_tasks(store: &impl Store, epoch: Epoch) -> Vec<RestoredTask> {
    let mut tasks = Vec::new();
    loop {
        let after = tasks.last().map_or(SubmissionSeq(0), |last: &RestoredTask| last.seq);
        let page = store.open_tasks(epoch, after, 2).unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            return tasks;
        }
        tasks.extend(page.into_iter().map(|open| open.task));
    }
}

pub(super) fn commit(store: &impl Store, epoch: Epoch, changes: Vec<Change>) -> Result<Committed> {
    store.commit(epoch, &Batch { changes, ..Batch::default() })
}

pub(super) fn new_task(id: TaskId) -> NewTask {
    NewTask {
        id,
        spec: TaskSpec {
            work: Work::sleep(1.5, [Number::Integer(3), Number::Float(0.1)]),
            max_attempts: 3,
            timeout: 3600.0,
            retry: None,
        },
        pool: "default".into(),
        priority: -5,
        not_before: None,
        group: None,
        labels: Labels::new(),
        idempotency_key: None,
        replay_of: None,
    }
}

pub(super) fn accepted(seq: u64, task: NewTask) -> Change {
    Change::TaskAccepted { seq: SubmissionSeq(seq), at: at(seq), task: task.into() }
}

/// Fresh tasks 1 to `count`, accepted.
pub(super) fn accept(store: &impl Store, epoch: Epoch, count: u64) -> Vec<TaskId> {
    let ids: Vec<TaskId> = (0..count).map(|_| TaskId::now()).collect();
    let changes = (1..).zip(&ids).map(|(seq, id)| accepted(seq, new_task(*id))).collect();
    assert_eq!(commit(store, epoch, changes).unwrap(), Committed::default());
    ids
}

pub(super) fn worker(slot: u16) -> WorkerId {
    WorkerId { pool: "default".into(), slot: SlotNo(slot), generation: Generation(4) }
}

pub(super) fn started(task: TaskId, attempt: u32) -> Change {
    let (attempt, worker) = (AttemptNo(attempt), worker(2));
    Change::AttemptStarted { task, attempt, worker, epoch: Epoch(1), at: at(100) }
}

pub(super) fn lost(task: TaskId, attempt: u32, verdict: Option<Verdict>, costs: bool) -> Change {
    Change::AttemptEnded { task, attempt: AttemptNo(attempt), at: at(101), verdict, costs }
}

pub(super) fn verdict(kind: VerdictKind) -> Verdict {
    Verdict { kind, detail: "As \"it\" went".into(), exit_code: Some(137), signal: None }
}

pub(super) fn succeeded(seq: u64, task: TaskId, attempt: u32) -> Change {
    let last = LastAttempt {
        attempt: AttemptNo(attempt),
        worker: worker(2),
        epoch: Epoch(1),
        started_at: at(100),
        verdict: Some(verdict(VerdictKind::Succeeded)),
    };
    let result = RawValue::from_string(r#"{"sum":7}"#.into()).unwrap();
    Change::TaskEnded {
        seq: OutcomeSeq(seq),
        task,
        at: at(200),
        ending: Ending::Succeeded(result),
        last: Some(last),
    }
}

pub(super) fn cancelled(seq: u64, task: TaskId) -> Change {
    Change::TaskEnded { seq: OutcomeSeq(seq), task, at: at(200), ending: Ending::Cancelled, last: None }
}

pub(super) fn kept(task: TaskId, attempt: u32, result: &str) -> Change {
    let result = RawValue::from_string(result.into()).unwrap();
    Change::CancelledOutputKept { task, attempt: AttemptNo(attempt), result }
}

pub(super) fn died(slot: u16, generation: u64) -> Change {
    Change::Died(Box::new(Obituary {
        worker: format!("worker-{slot}"),
        pool: "default".into(),
        slot: SlotNo(slot),
        generation: Generation(generation),
        container: Some("c0ffee".into()),
        died_at: at(generation),
        verdict: verdict(VerdictKind::Killed),
        oom: false,
        memory_peak_bytes: Some(1 << 40),
        memory_limit_bytes: None,
        last_logs: vec!["CRASH :(".into()],
        last_usage: Vec::new(),
        tasks: Vec::new(),
    }))
}

pub(super) fn container(no: u32, name: &str) -> Registration {
    let identity =
        ContainerIdentity { name: name.into(), id: format!("id-{no}").into(), role: ContainerRole::Worker };
    Registration { no: ContainerNo(no), identity, at: at(u64::from(no)) }
}

pub(super) fn log(seq: u64, container: u32, task: Option<TaskId>, message: &str) -> LogEntry {
    LogEntry {
        seq: LogSeq(seq),
        at: at(seq),
        container: ContainerNo(container),
        task,
        message: message.into(),
    }
}
