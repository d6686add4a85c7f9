//! Asking for the cluster itself, and handing in log lines.

use clb_protocol::api::{ClusterView, LogPage, ObituaryPage, WorkerView};
use clb_protocol::link::{LogHandIn, LogReceipt};
use clb_protocol::{LogSeq, TaskId};

use super::Client;
use super::call::{Call, segment};
use crate::Error;

impl Client {
    /// Who leads, who stands by, and how many tasks stand where.
    pub async fn cluster(&self) -> Result<ClusterView, Error> {
        self.ask(Call::get("/api/v1/cluster")).await
    }

    /// Every slot and the worker in it.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Error> {
        self.ask(Call::get("/api/v1/workers")).await
    }

    /// Lets a worker finish what it has and take no more, until it is resumed or restarted.
    pub async fn drain_worker(&self, name: &str) -> Result<WorkerView, Error> {
        self.order(name, "drain").await
    }

    /// Drains a worker and replaces it.
    pub async fn restart_worker(&self, name: &str) -> Result<WorkerView, Error> {
        self.order(name, "restart").await
    }

    /// Lets a drained worker take tasks again.
    pub async fn resume_worker(&self, name: &str) -> Result<WorkerView, Error> {
        self.order(name, "resume").await
    }

    async fn order(&self, worker: &str, order: &str) -> Result<WorkerView, Error> {
        self.ask(Call::post_nothing(format!("/api/v1/workers/{}/{order}", segment(worker)))).await
    }

    /// The log lines that speak of a task, after `after`.
    pub async fn task_logs(&self, task: TaskId, after: LogSeq) -> Result<LogPage, Error> {
        self.ask(Call::get("/api/v1/logs").query("task", &task).query("after", &after)).await
    }

    /// A page of dead containers, newest first; `cursor` is `next` of the page before.
    pub async fn obituaries(&self, cursor: Option<&str>) -> Result<ObituaryPage, Error> {
        let call = Call::get("/api/v1/obituaries");
        self.ask(cursor.map_or(call.clone(), |cursor| call.query("cursor", &cursor))).await
    }

    /// Gives the cluster the log lines of a container that holds no link. Lines whose receipt was
    /// lost on the way are sent again, so one may stand in the log twice.
    pub async fn hand_in_logs(&self, logs: &LogHandIn) -> Result<LogReceipt, Error> {
        self.ask(Call::post("/link/v1/logs", logs)?).await
    }
}
