//! What callers ask a cluster. Where a test does not care which orchestrator answers, both are tried until
//! one has a leader, as a good client does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use clb_protocol::api::{
    ClusterView, LogPage, LogView, Obituary, ObituaryPage, OutcomePage, OutcomeView, TaskState, TaskView,
    WorkerState, WorkerView,
};
use clb_protocol::task::TaskRequest;
use clb_protocol::{LogSeq, OutcomeSeq, TaskId};
use serde::de::DeserializeOwned;

use super::{Cluster, MEMBERS};
use crate::http::{Answer, Call};
use crate::patience::{SOON, eventually};

/// Longer than an orchestrator waits for a leader before it says that there is none.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// How long one request waits for the end of a task, in seconds.
const WAIT_S: u64 = 20;

/// One orchestrator's address.
#[derive(Clone, Debug)]
pub struct Door {
    base: String,
    token: Option<String>,
}

impl Door {
    /// An address of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn call(&self, call: Call) -> Call {
        match &self.token {
            Some(token) => call.header("authorization", &format!("Bearer {token}")),
            None => call,
        }
    }

    /// `GET`, with the token where there is one.
    pub fn get(&self, path: &str) -> Call {
        self.call(Call::get(self.url(path)))
    }

    /// `POST` of JSON, with the token where there is one.
    pub fn post(&self, path: &str, body: impl Into<bytes::Bytes>) -> Call {
        self.call(Call::post_json(self.url(path), body))
    }

    /// `PUT` of JSON, with the token where there is one.
    pub fn put(&self, path: &str, body: impl Into<bytes::Bytes>) -> Call {
        let call = Call::new("PUT", self.url(path)).header("content-type", "application/json").body(body);
        self.call(call)
    }

    /// Submits a task here and nowhere else.
    pub async fn submit(&self, task: &TaskRequest) -> Result<Answer, String> {
        self.post("/api/v1/tasks", json(task)).try_send().await
    }
}

impl Cluster {
    /// Both orchestrators' addresses.
    pub fn doors(&self) -> [Door; 2] {
        [0, 1].map(|number| Door {
            base: format!("http://127.0.0.1:{}", self.ports.orchestrator(number)),
            token: self.setup.token.clone(),
        })
    }

    /// The address of a worker of the pool `default`, whether it is there or not.
    pub fn door_of_worker(&self, slot: u16) -> Door {
        let port = self.ports.first_worker() + slot - 1;
        Door { base: format!("http://127.0.0.1:{port}"), token: self.setup.token.clone() }
    }

    /// The address of an orchestrator, by its name.
    pub fn door_of(&self, member: &str) -> Door {
        let number = MEMBERS.iter().position(|name| *name == member).expect("an orchestrator's name");
        let [first, second] = self.doors();
        if number == 0 { first } else { second }
    }

    /// The leader's own address.
    pub async fn leaders_door(&self) -> Door {
        self.door_of(self.view().await.leader.as_str())
    }

    /// The first answer of any orchestrator that has a leader, beginning with the one that answered last:
    /// a frozen one takes a request and says nothing.
    pub(super) async fn ask(
        &self,
        patience: Duration,
        call: impl Fn(&Door) -> Call,
    ) -> Result<Answer, String> {
        let mut complaint = String::new();
        let first = self.answered_last.load(Ordering::Relaxed);
        for number in [first, 1 - first] {
            match call(&self.doors()[number]).within(patience).try_send().await {
                Ok(answer) if !matches!(answer.status, 418 | 503) => {
                    self.answered_last.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => complaint = format!("{}: {}", answer.status, answer.text()),
                Err(why) => complaint = why,
            }
        }
        Err(complaint)
    }

    async fn try_get_within<T: DeserializeOwned>(&self, patience: Duration, path: &str) -> Result<T, String> {
        let answer = self.ask(patience, |door| door.get(path)).await?;
        if answer.status == 200 {
            Ok(answer.json())
        } else {
            Err(format!("{path}: {} {}", answer.status, answer.text()))
        }
    }

    pub(super) async fn try_get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.try_get_within(PATIENCE, path).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        eventually(&format!("an answer to {path}"), SOON, async || self.try_get(path).await).await
    }

    pub(super) async fn try_view(&self) -> Result<ClusterView, String> {
        self.try_get("/api/v1/cluster").await
    }

    pub(super) async fn try_workers(&self) -> Result<Vec<WorkerView>, String> {
        self.try_get("/api/v1/workers").await
    }

    /// Who leads, who is there.
    pub async fn view(&self) -> ClusterView {
        self.get("/api/v1/cluster").await
    }

    /// All workers by slot.
    pub async fn workers(&self) -> Vec<WorkerView> {
        self.get("/api/v1/workers").await
    }

    /// A worker by its stable name.
    pub async fn worker(&self, name: &str) -> WorkerView {
        let mut workers = self.workers().await;
        workers.retain(|worker| worker.name == name);
        workers.pop().unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Submits a task, again until it is acknowledged.
    pub async fn submit(&self, task: TaskRequest) -> TaskId {
        let id = task.id.expect("tasks of tests have names");
        eventually("the submission is acknowledged", SOON, async || {
            let answer = self.ask(PATIENCE, |door| door.post("/api/v1/tasks", json(&task))).await?;
            assert!(matches!(answer.status, 200 | 201), "refused: {} {}", answer.status, answer.text());
            Ok(())
        })
        .await;
        id
    }

    /// A task as it stands.
    pub async fn task(&self, id: TaskId) -> TaskView {
        self.get(&format!("/api/v1/tasks/{id}")).await
    }

    /// A task once it has ended, or as it stands after a while.
    pub(super) async fn try_wait_for(&self, id: TaskId) -> Result<TaskView, String> {
        let path = format!("/api/v1/tasks/{id}?wait={WAIT_S}");
        self.try_get_within(PATIENCE + Duration::from_secs(WAIT_S), &path).await
    }

    /// Every outcome that is on record, in order, page by page.
    pub async fn outcomes(&self) -> Vec<OutcomeView> {
        let mut all = Vec::new();
        let mut after = OutcomeSeq(0);
        loop {
            let page: OutcomePage = self.get(&format!("/api/v1/outcomes?after={after}&limit=500")).await;
            if page.outcomes.is_empty() {
                return all;
            }
            assert!(page.next > after, "the next page is not further on");
            after = page.next;
            all.extend(page.outcomes);
        }
    }

    /// All obituaries, newest first.
    pub async fn obituaries(&self) -> Vec<Obituary> {
        self.get::<ObituaryPage>("/api/v1/obituaries?limit=1000").await.obituaries
    }

    /// All log lines of a container, by its stable name.
    pub async fn log_lines(&self, container: &str) -> Vec<LogView> {
        let mut all = Vec::new();
        let mut after = LogSeq(0);
        loop {
            let path = format!("/api/v1/logs?container={container}&after={after}&limit=10000");
            let page: LogPage = self.get(&path).await;
            all.extend(page.logs);
            if page.next <= after {
                return all;
            }
            after = page.next;
        }
    }

    /// Waits until a task runs; gives the worker that has it.
    pub async fn worker_of(&self, task: TaskId) -> WorkerView {
        eventually("the task runs on a worker", SOON, async || {
            let workers = self.try_workers().await?;
            let states = states(&workers);
            let holder = workers.into_iter().find(|worker| worker.running.contains(&task));
            let holder = holder.filter(|worker| worker.state == WorkerState::Ready);
            match holder {
                Some(worker) if self.task(task).await.state == TaskState::Running => Ok(worker),
                _ => Err(states),
            }
        })
        .await
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("requests are JSON")
}

/// The workers in a few words.
pub(super) fn states(workers: &[WorkerView]) -> String {
    let state = |worker: &WorkerView| {
        let reason = worker.reason.as_deref().unwrap_or_default();
        format!("{} {:?} (generation {}) {reason}", worker.name, worker.state, worker.generation)
    };
    workers.iter().map(state).collect::<Vec<_>>().join("; ")
}
