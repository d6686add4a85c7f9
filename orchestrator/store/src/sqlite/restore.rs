//! What a new leader begins with.

use clb_core::fleet::Standing;
use clb_core::input::{Restored, RestoredPool, RestoredTask};
use clb_core::task::RunningAttempt;
use clb_protocol::{
    AttemptNo, Epoch, Generation, OutcomeSeq, PoolName, SlotNo, SubmissionSeq, TaskId, Timestamp, WorkerId,
};
use rusqlite::{Connection, Row, params};

use super::failure::from_json;
use super::{logs, registry};
use crate::{OpenTask, Recovered, Result, StoreError};

/// Everything but the tasks.
pub(super) fn restore(connection: &Connection, epoch: Epoch) -> Result<Recovered> {
    let mut pools = Pools::default();
    let last = |sql: &str| -> Result<u64> {
        Ok(connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?.unwrap_or_default() as u64)
    };
    let totals = "SELECT succeeded, failed, cancelled FROM ledger";
    let ended: [i64; 3] =
        connection.query_row(totals, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(Recovered {
        cluster: Restored {
            epoch,
            pools: restored_pools(connection)?,
            generations: generations(connection, &mut pools)?,
            standings: standings(connection, &mut pools)?,
            last_submission: SubmissionSeq(last("SELECT max(seq) FROM tasks")?),
            last_outcome: OutcomeSeq(last("SELECT max(seq) FROM outcomes")?),
            ended: ended.map(|count| count as u64),
        },
        containers: registry::containers(connection)?,
        members: registry::members(connection)?,
        last_log: logs::last_seq(connection)?,
    })
}

/// One page of the tasks without an outcome, with their attempts.
pub(super) fn open_tasks(
    connection: &Connection,
    after: SubmissionSeq,
    limit: usize,
) -> Result<Vec<OpenTask>> {
    let sql = "SELECT t.seq, t.id, t.pool, t.priority, t.max_attempts, t.timeout_seconds, t.task_group,
            t.submitted_at, t.not_before, t.retry
        FROM open_tasks o CROSS JOIN tasks t ON t.seq = o.task_seq
        WHERE o.task_seq > ? ORDER BY o.task_seq LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![after.0 as i64, limit as i64])?;
    let (mut pools, mut tasks) = (Pools::default(), Vec::new());
    while let Some(row) = rows.next()? {
        let retry = row.get_ref(9)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        let task = RestoredTask {
            id: TaskId::from_bytes(row.get(1)?),
            seq: SubmissionSeq(row.get::<_, i64>(0)? as u64),
            pool: pools.name(row, 2)?,
            priority: row.get(3)?,
            submitted_at: Timestamp(row.get(7)?),
            not_before: row.get::<_, Option<i64>>(8)?.map(Timestamp),
            max_attempts: row.get(4)?,
            timeout_seconds: row.get(5)?,
            retry: retry.map(from_json).transpose()?,
            spent: 0,
            last_attempt: AttemptNo(0),
            rests_since: None,
            open: None,
            unjudged: Vec::new(),
        };
        tasks.push(OpenTask { task, group: row.get(6)? });
    }
    add_attempts(connection, after, &mut pools, &mut tasks)?;
    Ok(tasks)
}

/// Walks along the attempts and the tasks, both by the tasks' place.
fn add_attempts(
    connection: &Connection,
    after: SubmissionSeq,
    pools: &mut Pools,
    tasks: &mut [OpenTask],
) -> Result<()> {
    let Some(last) = tasks.last().map(|last| last.task.seq) else { return Ok(()) };
    let sql = "SELECT a.task_seq, a.attempt, a.worker_pool, a.worker_slot, a.worker_generation, a.epoch,
            a.started_at, a.costs, a.ended_at, a.verdict IS NULL
        FROM open_tasks o CROSS JOIN attempts a ON a.task_seq = o.task_seq
        WHERE o.task_seq > ? AND o.task_seq <= ? ORDER BY o.task_seq, a.attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![after.0 as i64, last.0 as i64])?;
    let mut tasks = tasks.iter_mut().map(|open| &mut open.task);
    let mut task = tasks.next();
    while let Some(row) = rows.next()? {
        let seq = SubmissionSeq(row.get::<_, i64>(0)? as u64);
        while task.as_ref().is_some_and(|task| task.seq < seq) {
            task = tasks.next();
        }
        let Some(task) = task.as_mut().filter(|task| task.seq == seq) else {
            return Err(StoreError::Corrupt {
                detail: format!("the attempts of open task {seq} lack their task"),
            });
        };
        task.last_attempt = AttemptNo(row.get(1)?);
        let costs: u32 = row.get(7)?;
        let ended_at = row.get::<_, Option<i64>>(8)?.map(Timestamp);
        task.spent += costs;
        task.rests_since = ended_at.filter(|_| costs > 0);
        match (ended_at, row.get(9)?) {
            (None, _) => task.open = Some(attempt(row, pools)?),
            (Some(_), true) => task.unjudged.push(attempt(row, pools)?),
            (Some(_), false) => {}
        }
    }
    Ok(())
}

fn attempt(row: &Row<'_>, pools: &mut Pools) -> Result<RunningAttempt> {
    Ok(RunningAttempt {
        attempt: AttemptNo(row.get(1)?),
        worker: WorkerId {
            pool: pools.name(row, 2)?,
            slot: SlotNo(row.get(3)?),
            generation: Generation(row.get::<_, i64>(4)? as u64),
        },
        epoch: Epoch(row.get::<_, i64>(5)? as u64),
        started_at: Timestamp(row.get(6)?),
    })
}

fn generations(connection: &Connection, pools: &mut Pools) -> Result<Vec<(PoolName, SlotNo, Generation)>> {
    let mut statement = connection.prepare("SELECT pool, slot, generation FROM slots ORDER BY pool, slot")?;
    let mut rows = statement.query([])?;
    let mut generations = Vec::new();
    while let Some(row) = rows.next()? {
        let generation = Generation(row.get::<_, i64>(2)? as u64);
        generations.push((pools.name(row, 0)?, SlotNo(row.get(1)?), generation));
    }
    Ok(generations)
}

fn standings(connection: &Connection, pools: &mut Pools) -> Result<Vec<(PoolName, SlotNo, Standing)>> {
    let sql = "SELECT pool, slot, standing FROM slots WHERE standing IS NOT NULL ORDER BY pool, slot";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut standings = Vec::new();
    while let Some(row) = rows.next()? {
        let standing = match row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)? {
            "drain" => Standing::Drain,
            _ => Standing::Restart,
        };
        standings.push((pools.name(row, 0)?, SlotNo(row.get(1)?), standing));
    }
    Ok(standings)
}

fn restored_pools(connection: &Connection) -> Result<Vec<RestoredPool>> {
    let mut statement = connection.prepare("SELECT name, spec, is_paused FROM pools ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let spec = match row.get::<_, Option<String>>(1)? {
            Some(text) => Some(serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
                detail: format!("the spec of pool {name} cannot be read: {error}"),
            })?),
            None => None,
        };
        found.push(RestoredPool { name: name.into(), spec, is_paused: row.get(2)? });
    }
    Ok(found)
}

/// The few names that so many rows repeat, each once in memory.
#[derive(Debug, Default)]
struct Pools(Vec<PoolName>);

impl Pools {
    fn name(&mut self, row: &Row<'_>, column: usize) -> Result<PoolName> {
        let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
        if let Some(known) = self.0.iter().find(|name| name.as_str() == text) {
            return Ok(known.clone());
        }
        let name = PoolName::from(text);
        self.0.push(name.clone());
        Ok(name)
    }
}
