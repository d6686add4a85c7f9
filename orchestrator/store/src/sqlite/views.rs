//! Rows of tasks as the API shows them.

use clb_protocol::api::{AttemptView, TaskError, TaskState, TaskView};
use clb_protocol::{AttemptNo, Epoch, OutcomeSeq, PoolName, SlotNo, SubmissionSeq, TaskId, Timestamp};
use rusqlite::{Connection, Params, Row};
use rustc_hash::FxHashMap;

use super::failure::{from_json, raw_json};
use crate::{Result, StoreError};

/// What [`select`] needs, of `tasks t` and `outcomes o`.
pub(super) const COLUMNS: &str = "t.seq, t.id, t.pool, t.task_group, t.labels, t.priority, t.kind, t.spec,
    t.submitted_at, o.seq, o.state, o.finished_at, o.result, o.error_code, o.error_message, t.not_before,
    t.replay_of, (SELECT r.id FROM tasks r WHERE r.replay_of = t.id)";

/// How many bytes of specs and results a page has.
const PAGE_BYTES: usize = 8 << 20;

/// A task and its places.
#[derive(Debug)]
pub(super) struct PlacedTask {
    pub(super) submission: SubmissionSeq,
    pub(super) outcome: Option<OutcomeSeq>,
    pub(super) view: TaskView,
}

impl PlacedTask {
    /// How much its spec and its result are.
    pub(super) fn bytes(&self) -> usize {
        self.view.spec.get().len() + self.view.result.as_ref().map_or(0, |result| result.get().len())
    }
}

/// Runs a query for [`COLUMNS`] and adds all attempts. Says whether there was more than fits by its bytes
/// into a page that has `used` of them already; the first task of a page always does.
pub(super) fn select(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    used: usize,
) -> Result<(Vec<PlacedTask>, bool)> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let (mut tasks, mut bytes, mut is_cut) = (Vec::new(), used, false);
    while let Some(row) = rows.next()? {
        let task = task(row)?;
        bytes += task.bytes();
        is_cut = bytes > PAGE_BYTES && (used > 0 || !tasks.is_empty());
        if is_cut {
            break;
        }
        tasks.push(task);
    }
    add_attempts(connection, &mut tasks)?;
    for task in &mut tasks {
        conclude(&mut task.view);
    }
    Ok((tasks, is_cut))
}

fn task(row: &Row<'_>) -> Result<PlacedTask> {
    let labels = row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let kind = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
    let state = row.get_ref(10)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let error = match (row.get(13)?, row.get(14)?) {
        (Some(code), Some(message)) => Some(TaskError { code, message }),
        _ => None,
    };
    let view = TaskView {
        id: TaskId::from_bytes(row.get(1)?),
        kind: from_json(&format!("\"{kind}\""))?,
        pool: PoolName::from(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?),
        group: row.get(3)?,
        labels: labels.map(from_json).transpose()?.unwrap_or_default(),
        priority: row.get(5)?,
        spec: raw_json(row.get(7)?)?,
        state: state.map_or(Ok(TaskState::Queued), ended)?,
        submitted_at: Timestamp(row.get(8)?),
        started_at: None,
        finished_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        worker: None,
        attempt: None,
        result: row.get::<_, Option<String>>(12)?.map(raw_json).transpose()?,
        error,
        not_before: row.get::<_, Option<i64>>(15)?.map(Timestamp),
        progress: None,
        replay_of: row.get::<_, Option<[u8; 16]>>(16)?.map(TaskId::from_bytes),
        replayed_by: row.get::<_, Option<[u8; 16]>>(17)?.map(TaskId::from_bytes),
        attempts: Vec::new(),
    };
    let outcome = row.get::<_, Option<i64>>(9)?.map(|seq| OutcomeSeq(seq as u64));
    Ok(PlacedTask { submission: SubmissionSeq(row.get::<_, i64>(0)? as u64), outcome, view })
}

fn ended(state: &str) -> Result<TaskState> {
    [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled]
        .into_iter()
        .find(|ended| ended.as_str() == state)
        .ok_or_else(|| StoreError::Corrupt { detail: format!("an outcome has the state {state}") })
}

fn add_attempts(connection: &Connection, tasks: &mut [PlacedTask]) -> Result<()> {
    let places: FxHashMap<i64, usize> =
        tasks.iter().enumerate().map(|(place, task)| (task.submission.0 as i64, place)).collect();
    let seqs: Vec<String> = tasks.iter().map(|task| task.submission.to_string()).collect();
    let sql = "SELECT task_seq, attempt, worker_pool, worker_slot, epoch, started_at, ended_at, verdict
        FROM attempts WHERE task_seq IN (SELECT value FROM json_each(?)) ORDER BY task_seq, attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([format!("[{}]", seqs.join(","))])?;
    while let Some(row) = rows.next()? {
        let Some(place) = places.get(&row.get(0)?) else { continue };
        let pool = PoolName::from(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?);
        let verdict = row.get_ref(7)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        tasks[*place].view.attempts.push(AttemptView {
            attempt: AttemptNo(row.get(1)?),
            worker: clb_protocol::ids::worker_name(&pool, SlotNo(row.get(3)?)),
            epoch: Epoch(row.get::<_, i64>(4)? as u64),
            started_at: Timestamp(row.get(5)?),
            ended_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
            verdict: verdict.map(from_json).transpose()?,
        });
    }
    Ok(())
}

/// What follows from the attempts.
fn conclude(view: &mut TaskView) {
    let Some(newest) = view.attempts.last() else { return };
    view.started_at = Some(newest.started_at);
    view.worker = Some(newest.worker.clone());
    view.attempt = Some(newest.attempt);
    if view.state == TaskState::Queued && newest.ended_at.is_none() {
        view.state = TaskState::Running;
    }
}
