//! The statements of a commit.

use rusqlite::{CachedStatement, Connection};

use super::registry::FORGET_DEAD;
use crate::Result;

const ADD_TASK: &str = "INSERT INTO tasks (seq, id, pool, priority, task_group, labels, kind, spec,
        max_attempts, timeout_seconds, idempotency_key, submitted_at, retry, not_before, replay_of)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
const FIND_TASK: &str = "SELECT seq, task_group IS NOT NULL FROM tasks WHERE id = ?";
const FIND_KEY: &str = "SELECT seq FROM tasks WHERE idempotency_key = ?";
const FIND_REPLAY: &str = "SELECT seq FROM tasks WHERE replay_of = ?";
const OPEN_TASK: &str = "INSERT INTO open_tasks VALUES (?)";
const CLOSE_TASK: &str = "DELETE FROM open_tasks WHERE task_seq = ?";
/// An attempt that is known already was taken for lost and is not: it goes on.
const START_ATTEMPT: &str = "INSERT INTO attempts (task_seq, attempt, worker_pool, worker_slot,
        worker_generation, epoch, started_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET worker_pool = excluded.worker_pool, worker_slot = excluded.worker_slot,
        worker_generation = excluded.worker_generation, epoch = excluded.epoch,
        started_at = excluded.started_at, ended_at = NULL, costs = 0
    WHERE verdict IS NULL";
const END_ATTEMPT: &str = "UPDATE attempts SET ended_at = coalesce(ended_at, ?1), verdict = ?2, costs = ?3
    WHERE task_seq = ?4 AND attempt = ?5 AND verdict IS NULL";
const JUDGE_ATTEMPT: &str = "UPDATE attempts SET verdict = ?1, costs = ?2
    WHERE task_seq = ?3 AND attempt = ?4 AND verdict IS NULL";
/// An attempt whose start and end come in one batch: it may be known, as lost, from an earlier one.
const WHOLE_ATTEMPT: &str = "INSERT INTO attempts (task_seq, attempt, worker_pool, worker_slot,
        worker_generation, epoch, started_at, ended_at, verdict)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET worker_pool = excluded.worker_pool, worker_slot = excluded.worker_slot,
        worker_generation = excluded.worker_generation, epoch = excluded.epoch,
        started_at = excluded.started_at, ended_at = excluded.ended_at, verdict = excluded.verdict, costs = 0
    WHERE verdict IS NULL";
/// An attempt whose start was written before.
const LAST_ATTEMPT: &str = "INSERT INTO attempts (task_seq, attempt, worker_pool, worker_slot,
        worker_generation, epoch, started_at, ended_at, verdict)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET ended_at = coalesce(ended_at, excluded.ended_at),
        verdict = coalesce(verdict, excluded.verdict)";
const ADD_OUTCOME: &str = "INSERT INTO outcomes (seq, task_seq, task_group, state, finished_at, result,
        error_code, error_message)
    VALUES (?1, ?2, CASE WHEN ?8 THEN (SELECT task_group FROM tasks WHERE seq = ?2) END, ?3, ?4, ?5, ?6, ?7)";
const FIND_OUTCOME: &str = "SELECT seq FROM outcomes WHERE task_seq = ?";
/// Another result stays, and so does the outcome of another attempt.
const KEEP_OUTPUT: &str = "UPDATE outcomes SET result = ?1
    WHERE task_seq = ?2 AND state = 'cancelled' AND result IS NULL
        AND ?3 = (SELECT max(attempt) FROM attempts WHERE task_seq = ?2)";
const FILL_SLOT: &str = "INSERT INTO slots (pool, slot, generation) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET generation = max(generation, excluded.generation)";
pub(super) const ORDER_SLOT: &str = "INSERT INTO slots (pool, slot, generation, standing) VALUES (?, ?, 0, ?)
    ON CONFLICT DO UPDATE SET standing = excluded.standing";
pub(super) const SAVE_POOL: &str = "INSERT INTO pools VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET spec = excluded.spec, is_paused = excluded.is_paused";
pub(super) const FORGET_POOL: &str = "DELETE FROM pools WHERE name = ?";
const BURY: &str = "INSERT INTO obituaries (pool, slot, generation, obituary)
    VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";

/// Those that nearly every commit needs, prepared.
pub(super) struct Statements<'c> {
    pub(super) add_task: CachedStatement<'c>,
    pub(super) find_task: CachedStatement<'c>,
    pub(super) find_key: CachedStatement<'c>,
    pub(super) find_replay: CachedStatement<'c>,
    pub(super) open_task: CachedStatement<'c>,
    pub(super) close_task: CachedStatement<'c>,
    pub(super) start_attempt: CachedStatement<'c>,
    pub(super) end_attempt: CachedStatement<'c>,
    pub(super) judge_attempt: CachedStatement<'c>,
    pub(super) whole_attempt: CachedStatement<'c>,
    pub(super) last_attempt: CachedStatement<'c>,
    pub(super) add_outcome: CachedStatement<'c>,
    pub(super) find_outcome: CachedStatement<'c>,
    pub(super) keep_output: CachedStatement<'c>,
    pub(super) fill_slot: CachedStatement<'c>,
    pub(super) bury: CachedStatement<'c>,
    pub(super) forget_dead: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            add_task: connection.prepare_cached(ADD_TASK)?,
            find_task: connection.prepare_cached(FIND_TASK)?,
            find_key: connection.prepare_cached(FIND_KEY)?,
            find_replay: connection.prepare_cached(FIND_REPLAY)?,
            open_task: connection.prepare_cached(OPEN_TASK)?,
            close_task: connection.prepare_cached(CLOSE_TASK)?,
            start_attempt: connection.prepare_cached(START_ATTEMPT)?,
            end_attempt: connection.prepare_cached(END_ATTEMPT)?,
            judge_attempt: connection.prepare_cached(JUDGE_ATTEMPT)?,
            whole_attempt: connection.prepare_cached(WHOLE_ATTEMPT)?,
            last_attempt: connection.prepare_cached(LAST_ATTEMPT)?,
            add_outcome: connection.prepare_cached(ADD_OUTCOME)?,
            find_outcome: connection.prepare_cached(FIND_OUTCOME)?,
            keep_output: connection.prepare_cached(KEEP_OUTPUT)?,
            fill_slot: connection.prepare_cached(FILL_SLOT)?,
            bury: connection.prepare_cached(BURY)?,
            forget_dead: connection.prepare_cached(FORGET_DEAD)?,
        })
    }
}
