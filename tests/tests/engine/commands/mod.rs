//! Commands in real containers: how they end, what they write, and what is left of them.

mod endings;
mod leftovers;
mod output;
mod survival;

use clb_protocol::TaskId;
use clb_protocol::api::{TaskView, WorkerState, WorkerView};
use clb_protocol::task::CommandResult;
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::container_of;

/// What a command that has ended gave.
fn result(task: &TaskView) -> CommandResult {
    let result = task.result.as_ref().unwrap_or_else(|| panic!("it has no result: {task:?}"));
    serde_json::from_str(result.get()).unwrap()
}

fn error(task: &TaskView) -> (&str, &str) {
    let error = task.error.as_ref().unwrap_or_else(|| panic!("it has no error: {task:?}"));
    (&error.code, &error.message)
}

/// The address of a task's output.
fn output(task: TaskId, query: &str) -> String {
    format!("/api/v1/tasks/{task}/output{query}")
}

/// The processes in a worker's container.
async fn processes(worker: &WorkerView) -> String {
    container_of(worker).try_do("top").await.unwrap()
}

/// Looks that the worker which ran a task is still the one that ran it.
async fn lives_on(cluster: &Cluster, task: &TaskView) -> WorkerView {
    let worker = cluster.worker(task.worker.as_deref().unwrap()).await;
    assert_eq!((worker.generation.0, worker.state), (1, WorkerState::Ready), "{worker:?}");
    worker
}
