//! The queries for tasks, by their names and by their outcomes.

use std::collections::BTreeSet;

use clb_protocol::api::{OutcomePage, OutcomeView, TaskView};
use clb_protocol::task::{Labels, NewTask, TaskSpec};
use clb_protocol::{OutcomeSeq, TaskId};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params};
use serde_json::{Map, Value};

use super::failure::{from_json, raw_json, to_json};
use super::views::{COLUMNS, select};
use crate::{Existing, Original, Result, Workload};

pub(super) fn one(connection: &Connection, id: TaskId) -> Result<Option<TaskView>> {
    let sql =
        format!("SELECT {COLUMNS} FROM tasks t LEFT JOIN outcomes o ON o.task_seq = t.seq WHERE t.id = ?");
    Ok(select(connection, &sql, [id.as_bytes()], 0)?.0.pop().map(|task| task.view))
}

pub(super) fn specs(connection: &Connection, ids: &[TaskId]) -> Result<Vec<(TaskId, Workload)>> {
    let mut find = connection.prepare_cached("SELECT spec, task_group FROM tasks WHERE id = ?")?;
    let mut specs = Vec::with_capacity(ids.len());
    for id in ids {
        let found = find.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((spec, group)) = found {
            specs.push((*id, Workload { spec: raw_json(spec)?, group }));
        }
    }
    Ok(specs)
}

pub(super) fn existing(connection: &Connection, tasks: &[&NewTask]) -> Result<Vec<Option<Existing>>> {
    let columns = "SELECT id, pool, priority, task_group, labels, spec, not_before FROM tasks";
    let mut by_id = connection.prepare_cached(&format!("{columns} WHERE id = ?"))?;
    let mut by_key = connection.prepare_cached(&format!("{columns} WHERE idempotency_key = ?"))?;
    tasks
        .iter()
        .map(|task| {
            if let Some(key) = &task.idempotency_key
                && let Some(found) = compare(&mut by_key, key, task)?
            {
                return Ok(Some(found));
            }
            compare(&mut by_id, task.id.as_bytes(), task)
        })
        .collect()
}

/// Looks for a task by `key` and says whether it is the same as `task`.
fn compare(find: &mut CachedStatement<'_>, key: impl ToSql, task: &NewTask) -> Result<Option<Existing>> {
    let mut rows = find.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = TaskId::from_bytes(row.get(0)?);
    let labels = row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let spec: TaskSpec = from_json(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?;
    let differs = [
        ("pool", row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? != task.pool.as_str()),
        ("priority", row.get::<_, i8>(2)? != task.priority),
        ("not_before", row.get::<_, Option<i64>>(6)? != task.not_before.map(|at| at.0)),
        ("group", row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)? != task.group.as_deref()),
        ("labels", labels.map(from_json::<Labels>).transpose()?.unwrap_or_default() != task.labels),
    ];
    let is_same = spec == task.spec && differs.iter().all(|(_, differs)| !differs);
    if is_same {
        return Ok(Some(Existing::Same(id)));
    }
    let around = differs.iter().filter(|(_, differs)| *differs).map(|(field, _)| (*field).to_owned());
    let fields = around.chain(differences(&spec, &task.spec)?).collect();
    Ok(Some(Existing::Different { id, fields }))
}

/// The fields in which two specs differ.
fn differences(one: &TaskSpec, other: &TaskSpec) -> Result<impl Iterator<Item = String>> {
    let (one, other) = (fields_of(one)?, fields_of(other)?);
    let names: BTreeSet<String> = one.keys().chain(other.keys()).cloned().collect();
    Ok(names.into_iter().filter(move |name| one.get(name) != other.get(name)))
}

fn fields_of(spec: &TaskSpec) -> Result<Map<String, Value>> {
    from_json(&to_json(spec)?)
}

/// What replays of these are made of. Unknown ids are left out.
pub(super) fn originals(connection: &Connection, ids: &[TaskId]) -> Result<Vec<Original>> {
    let sql = "SELECT o.state, (SELECT r.id FROM tasks r WHERE r.replay_of = t.id), t.pool, t.priority,
            t.task_group, t.labels, t.spec
        FROM tasks t LEFT JOIN outcomes o ON o.task_seq = t.seq WHERE t.id = ?";
    let mut find = connection.prepare_cached(sql)?;
    let mut originals = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = find.query([id.as_bytes()])?;
        let Some(row) = rows.next()? else { continue };
        let labels = row.get_ref(5)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        originals.push(Original {
            id: *id,
            has_ended: row.get_ref(0)? != ValueRef::Null,
            replay: row.get::<_, Option<[u8; 16]>>(1)?.map(TaskId::from_bytes),
            pool: row.get::<_, String>(2)?.into(),
            priority: row.get(3)?,
            group: row.get(4)?,
            labels: labels.map(from_json).transpose()?.unwrap_or_default(),
            spec: from_json(row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)?,
        });
    }
    Ok(originals)
}

pub(super) fn outcomes(
    connection: &Connection,
    after: OutcomeSeq,
    group: Option<&str>,
    limit: usize,
) -> Result<OutcomePage> {
    let wanted = if group.is_some() { "o.task_group = ?3" } else { "?3 IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM outcomes o CROSS JOIN tasks t ON t.seq = o.task_seq
         WHERE o.seq > ?1 AND {wanted} ORDER BY o.seq LIMIT ?2"
    );
    let (tasks, _) = select(connection, &sql, params![after.0 as i64, limit as i64, group], 0)?;
    let outcomes: Vec<OutcomeView> = tasks
        .into_iter()
        .filter_map(|task| Some(OutcomeView { seq: task.outcome?, task: task.view }))
        .collect();
    let next = outcomes.last().map_or(after, |outcome| outcome.seq);
    Ok(OutcomePage { outcomes, next })
}
