//! The words of the seed's log lines, in one place. A task is a "payload" there.

use crate::TaskId;

/// What a simulated crash answers to everything but `/stop`, `/logging` and `/healthz` (status 418).
pub const TEAPOT: &str = "I am simulating a crash, please do not bother me";

/// The client made a payload.
#[must_use]
pub fn created_payload(id: TaskId) -> String {
    format!("Created payload: {id}")
}

/// A payload went to the container that is reached at `port`.
#[must_use]
pub fn sent_payload(id: TaskId, port: u16) -> String {
    format!("Sent payload: {id} for execution to port: {port}")
}

/// A payload arrived.
#[must_use]
pub fn received_payload(id: TaskId) -> String {
    format!("Received payload: {id}")
}

/// A worker gave its result to the leader.
#[must_use]
pub fn sent_result_to_leader(id: TaskId, port: u16) -> String {
    format!("Sent result: {id} for leader to port: {port}")
}

/// The leader made a result known to the client.
#[must_use]
pub fn sent_result_to_client(id: TaskId, port: u16) -> String {
    format!("Sent result: {id} for client to port: {port}")
}

/// A result arrived.
#[must_use]
pub fn received_result(id: TaskId) -> String {
    format!("Received result: {id}")
}

/// CPU in percent, as the worker's container has used it.
#[must_use]
pub fn cpu_usage(percent: f64) -> String {
    format!("The CPU usage is: {percent:.1}")
}

/// Memory in percent of the limit.
#[must_use]
pub fn memory_usage(percent: f64) -> String {
    format!("RAM memory /%/ used: {percent:.1}")
}

/// An orchestrator became the leader.
pub const IS_MASTER: &str = "Is master container";
/// The leader lost a worker.
pub const WORKER_CRASHED: &str = "Worker has crashed";
/// A standby lost its leader.
pub const LEADER_CRASHED: &str = "Leader has crashed";
/// A simulated crash began.
pub const CRASH: &str = "CRASH :(";
/// A simulated crash ended.
pub const RECOVERED: &str = "RECOVERED :)";
