//! Submitting tasks and asking for them.

use std::time::Duration;

use bytes::Bytes;
use clb_protocol::api::{
    BatchEntry, Explanation, ManyCancelled, ManyReplayed, TaskPage, TaskSelection, TaskState, TaskView,
};
use clb_protocol::task::{Changes, Labels, TaskRequest};
use clb_protocol::{TaskId, TaskIdPart};
use serde::Serialize;
use tokio::time::Instant;

use super::Client;
use super::call::Call;
use crate::Error;

/// How many tasks go in one request; the cluster takes up to 10,000.
const BATCH: usize = 5_000;
/// A request is sent once it has so many bytes; one task more, which has 1 MiB at most, still fits in the 32 MiB that
/// the cluster takes.
const BATCH_BYTES: usize = 16 << 20;
/// How long one request may wait for the end of a task; the cluster allows 60 s.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
const CONFLICT: u16 = 409;

/// Which tasks to list; everything is left out by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only those that stand there.
    pub state: Option<TaskState>,
    /// Only those whose id begins or ends so.
    pub id: Option<TaskIdPart>,
    /// Only those that a replay stands for, or only those that stand for themselves.
    pub is_replayed: Option<bool>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Only those of this group.
    pub group: Option<String>,
    /// Only those that carry all of these labels.
    pub labels: Labels,
    /// How many at most, from 1 to 1000.
    pub limit: Option<u32>,
    /// From where to go on: `next` of the page before.
    pub cursor: Option<String>,
}

/// What is replayed, and how.
#[derive(Serialize)]
struct Replay<'a> {
    #[serde(flatten)]
    which: Option<&'a TaskSelection>,
    #[serde(skip_serializing_if = "Changes::is_empty")]
    changes: &'a Changes,
}

impl Client {
    /// Submits a task; it is on the cluster's disk when this returns. A request without an id gets
    /// one, so that this method may repeat it. Set the id yourself ([`TaskId::now`]) to be able to
    /// call again after an error without running the task twice.
    pub async fn submit(&self, mut request: TaskRequest) -> Result<TaskView, Error> {
        request.id.get_or_insert_with(TaskId::now);
        self.ask(Call::post("/api/v1/tasks", &request)?).await
    }

    /// Submits many tasks and gives one entry for each, in order. It sends them in several requests;
    /// after an error the first of them may be accepted, so set the ids yourself to call again.
    pub async fn submit_many(&self, mut requests: Vec<TaskRequest>) -> Result<Vec<BatchEntry>, Error> {
        let mut entries = Vec::with_capacity(requests.len());
        let (mut lines, mut count) = (Vec::new(), 0);
        for request in &mut requests {
            request.id.get_or_insert_with(TaskId::now);
            write_line(&mut lines, request)?;
            count += 1;
            if count == BATCH || lines.len() >= BATCH_BYTES {
                entries.extend(self.submit_lines(std::mem::take(&mut lines).into()).await?);
                count = 0;
            }
        }
        if count > 0 {
            entries.extend(self.submit_lines(lines.into()).await?);
        }
        Ok(entries)
    }

    /// Submits a task that is named by a text of up to 255 characters: the same key is the same task.
    pub async fn submit_with_key(&self, request: &TaskRequest, key: &str) -> Result<TaskView, Error> {
        self.ask(Call::post("/api/v1/tasks", request)?.with_key(key)).await
    }

    /// Submits up to 10,000 tasks that are written already, one JSON object a line and 32 MiB at most. Each
    /// of them needs an id, or a repetition makes it twice.
    pub async fn submit_lines(&self, lines: Bytes) -> Result<Vec<BatchEntry>, Error> {
        self.ask(Call::post_lines("/api/v1/tasks/batch", lines)).await
    }

    /// Why a task waits, or why it ran where it ran.
    pub async fn explain(&self, id: TaskId) -> Result<Explanation, Error> {
        self.ask(Call::get(format!("{}/explain", task_path(id)))).await
    }

    /// Cancels every task that fits; `queued` and `running` ones.
    pub async fn cancel_many(&self, which: &TaskSelection) -> Result<ManyCancelled, Error> {
        self.ask(Call::post("/api/v1/tasks/cancel", which)?.walking()).await
    }

    /// A new task of the same spec as one that has ended; the one that there is when it was replayed before.
    pub async fn replay(&self, id: TaskId) -> Result<TaskView, Error> {
        self.replay_with(id, &Changes::default()).await
    }

    /// The same, but for these changes; refused with 409 when it was replayed before without them.
    pub async fn replay_with(&self, id: TaskId, changes: &Changes) -> Result<TaskView, Error> {
        self.ask(Call::post(format!("{}/replay", task_path(id)), &Replay { which: None, changes })?).await
    }

    /// Replays every ended task that fits; the failed ones unless a state is said.
    pub async fn replay_many(&self, which: &TaskSelection, changes: &Changes) -> Result<ManyReplayed, Error> {
        let replay = Replay { which: Some(which), changes };
        self.ask(Call::post("/api/v1/tasks/replay", &replay)?.walking()).await
    }

    /// A task as it stands.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, Error> {
        self.ask(Call::get(task_path(id))).await
    }

    /// The task when it has ended, or as it stands when `timeout` is over
    /// ([`TaskState::has_ended`] tells which).
    pub async fn wait(&self, id: TaskId, timeout: Duration) -> Result<TaskView, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let task: TaskView = self.ask(Call::get(task_path(id)).holding(left.min(LONGEST_HOLD))).await?;
            if task.state.has_ended() || Instant::now() >= deadline {
                return Ok(task);
            }
        }
    }

    /// Cancels a task. Cancelling one that is cancelled already is no error; one that ended otherwise
    /// is refused with 409.
    pub async fn cancel(&self, id: TaskId) -> Result<TaskView, Error> {
        let cancelled = self.ask(Call::post_nothing(format!("{}/cancel", task_path(id)))).await;
        match cancelled {
            Err(Error::Refused { problem }) if problem.status == CONFLICT => {
                let task = self.task(id).await?;
                if task.state == TaskState::Cancelled { Ok(task) } else { Err(Error::Refused { problem }) }
            }
            other => other,
        }
    }

    /// One page of tasks, newest first.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<TaskPage, Error> {
        let mut call = Call::get("/api/v1/tasks");
        if let Some(state) = filter.state {
            call = call.query("state", &state.as_str());
        }
        if let Some(part) = &filter.id {
            call = call.query("id", part);
        }
        if let Some(is_replayed) = filter.is_replayed {
            call = call.query("replayed", &is_replayed);
        }
        if let Some(limit) = filter.limit {
            call = call.query("limit", &limit);
        }
        let texts = [("pool", &filter.pool), ("group", &filter.group), ("cursor", &filter.cursor)];
        for (name, text) in texts {
            if let Some(text) = text {
                call = call.query(name, text);
            }
        }
        for (key, value) in &filter.labels {
            call = call.query(&format!("label.{key}"), value);
        }
        self.ask(call).await
    }
}

fn write_line(lines: &mut Vec<u8>, request: &TaskRequest) -> Result<(), Error> {
    let written = serde_json::to_writer(&mut *lines, request);
    lines.push(b'\n');
    written.map_err(|source| Error::Unreadable { asked: "/api/v1/tasks/batch".to_owned(), source })
}

fn task_path(id: TaskId) -> String {
    format!("/api/v1/tasks/{id}")
}
