//! What tests ask of pools.

use clb_protocol::TaskId;
use clb_protocol::api::{PoolView, TaskView, WorkerState, WorkerView};
use clb_protocol::task::{Argv, Command, TaskRequest, Work};
use serde_json::Value;

use super::Cluster;
use super::ask::{Door, PATIENCE, states};
use crate::http::{Answer, Call};
use crate::patience::{LONG, SOON, eventually};

impl Cluster {
    /// Asks for a pool; the answer is the leader's, whatever it is.
    pub async fn put_pool(&self, name: &str, spec: &Value) -> Answer {
        let call = |path: &str, door: &Door| {
            let call = Call::new("PUT", door.url(path)).header("content-type", "application/json");
            call.body(spec.to_string())
        };
        self.answer_of(&format!("/api/v1/pools/{name}"), call).await
    }

    /// The answer of whichever orchestrator has a leader.
    async fn answer_of(&self, path: &str, call: impl Fn(&str, &Door) -> Call) -> Answer {
        eventually(&format!("an answer to {path}"), SOON, async || {
            self.ask(PATIENCE, |door| call(path, door)).await
        })
        .await
    }

    /// Asks for a pool and waits until it is as it should be.
    pub async fn has_pool(&self, name: &str, spec: &Value) -> PoolView {
        let answer = self.put_pool(name, spec).await;
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        self.pool_is("ready", name, |pool| {
            format!("{:?}", pool.state) == "Ready" && pool.workers.ready == pool.workers.wanted
        })
        .await
    }

    /// `DELETE` of a pool.
    pub async fn delete_pool(&self, name: &str) -> Answer {
        let call = |path: &str, door: &Door| Call::new("DELETE", door.url(path));
        self.answer_of(&format!("/api/v1/pools/{name}"), call).await
    }

    /// `POST` without a body.
    pub async fn command(&self, path: &str) -> Answer {
        self.answer_of(path, |path, door| Call::new("POST", door.url(path))).await
    }

    /// A pool as it stands; an error while nobody knows.
    pub async fn try_pool(&self, name: &str) -> Result<PoolView, String> {
        self.try_get(&format!("/api/v1/pools/{name}")).await
    }

    /// Waits until a pool is like that.
    pub async fn pool_is(&self, what: &str, name: &str, is_so: impl Fn(&PoolView) -> bool) -> PoolView {
        eventually(&format!("the pool {name} is {what}"), LONG, async || {
            let pool = self.try_pool(name).await?;
            if is_so(&pool) { Ok(pool) } else { Err(format!("{pool:?}")) }
        })
        .await
    }

    /// Waits until the workers of a pool are like that; gives them by slot.
    pub async fn workers_are(
        &self,
        pool: &str,
        what: &str,
        are_so: impl Fn(&[WorkerView]) -> bool,
    ) -> Vec<WorkerView> {
        eventually(&format!("the workers of {pool} are {what}"), LONG, async || {
            let mut workers = self.try_workers().await?;
            workers.retain(|worker| worker.pool.as_str() == pool);
            if are_so(&workers) { Ok(workers) } else { Err(states(&workers)) }
        })
        .await
    }

    /// Waits until a worker is in this state.
    pub async fn worker_is(&self, name: &str, state: WorkerState) -> WorkerView {
        eventually(&format!("{name} is {state:?}"), SOON, async || {
            let workers = self.try_workers().await?;
            let found = workers.iter().find(|worker| worker.name == name && worker.state == state);
            found.cloned().ok_or_else(|| states(&workers))
        })
        .await
    }

    /// Runs a program in a pool until it has ended.
    pub async fn run_in(&self, pool: &str, program: &str, arguments: &[&str]) -> TaskView {
        let task = self.submit(command(pool, program, arguments)).await;
        self.end_of(task).await
    }
}

/// A task that runs a program in a pool.
pub fn command(pool: &str, program: &str, arguments: &[&str]) -> TaskRequest {
    let argv = Argv::new(program, arguments.iter().copied());
    let mut request = TaskRequest::new(Work::Command(Command::new(argv)));
    request.id = Some(TaskId::now());
    request.pool = Some(pool.to_owned());
    request
}

/// A part of a command's result.
pub fn result_of(task: &TaskView, field: &str) -> Value {
    let result = task.result.as_ref().unwrap_or_else(|| panic!("no result: {task:?}"));
    let result: Value = serde_json::from_str(result.get()).expect("results are JSON");
    result[field].clone()
}
