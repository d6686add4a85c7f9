//! Asking for the cluster itself, and handing in log lines.

use clb_protocol::api::{ClusterView, WorkerView};
use clb_protocol::link::{LogHandIn, LogReceipt};

use super::Client;
use super::call::Call;
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

    /// Gives the cluster the log lines of a container that holds no link. Lines whose receipt was
    /// lost on the way are sent again, so one may stand in the log twice.
    pub async fn hand_in_logs(&self, logs: &LogHandIn) -> Result<LogReceipt, Error> {
        self.ask(Call::post("/link/v1/logs", logs)?).await
    }
}
