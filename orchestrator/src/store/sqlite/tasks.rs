//! The queries for tasks.

use clb_protocol::api::{OutcomePage, OutcomeView, TaskState, TaskView};
use clb_protocol::task::{Labels, NewTask, TaskSpec};
use clb_protocol::{OutcomeSeq, SubmissionSeq, TaskId};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::failure::{from_json, raw_json};
use super::views::{COLUMNS, select};
use crate::store::{Existing, IdList, Original, Result, TaskFilter, TaskList, Workload};

/// A list that must look at every task looks at so many and then says where to go on.
const SCANNED_TASKS: i64 = 200_000;

pub(super) fn one(connection: &Connection, id: TaskId) -> Result<Option<TaskView>> {
    let sql =
        format!("SELECT {COLUMNS} FROM tasks t LEFT JOIN outcomes o ON o.task_seq = t.seq WHERE t.id = ?");
    Ok(select(connection, &sql, [id.as_bytes()])?.0.pop().map(|task| task.view))
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

pub(super) fn existing(connection: &Connection, tasks: &[NewTask]) -> Result<Vec<Option<Existing>>> {
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
    let spec = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
    let same = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? == task.pool.as_str()
        && row.get::<_, i8>(2)? == task.priority
        && row.get::<_, Option<i64>>(6)? == task.not_before.map(|at| at.0)
        && row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)? == task.group.as_deref()
        && labels.map(from_json::<Labels>).transpose()?.unwrap_or_default() == task.labels
        && from_json::<TaskSpec>(spec)? == task.spec;
    Ok(Some(if same { Existing::Same(id) } else { Existing::Different(id) }))
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
    let (tasks, _) = select(connection, &sql, params![after.0 as i64, limit as i64, group])?;
    let outcomes: Vec<OutcomeView> = tasks
        .into_iter()
        .filter_map(|task| Some(OutcomeView { seq: task.outcome?, task: task.view }))
        .collect();
    let next = outcomes.last().map_or(after, |outcome| outcome.seq);
    Ok(OutcomePage { outcomes, next })
}

pub(super) fn list(
    connection: &Connection,
    filter: &TaskFilter,
    before: Option<SubmissionSeq>,
    limit: usize,
) -> Result<TaskList> {
    let (sql, params, floor) = ListQuery::new(filter).page(connection, COLUMNS, before, limit)?;
    let (mut tasks, is_cut) = select(connection, &sql, params_from_iter(params))?;
    let next = if is_cut || tasks.len() > limit {
        tasks.truncate(limit);
        tasks.last().map(|task| task.submission)
    } else {
        floor
    };
    Ok(TaskList { tasks: tasks.into_iter().map(|task| task.view).collect(), next })
}

pub(super) fn ids(
    connection: &Connection,
    filter: &TaskFilter,
    before: Option<SubmissionSeq>,
    limit: usize,
) -> Result<IdList> {
    let (sql, params, floor) = ListQuery::new(filter).page(connection, "t.seq, t.id", before, limit)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut list = IdList::default();
    let mut oldest = None;
    while let Some(row) = rows.next()? {
        if list.ids.len() == limit {
            list.next = oldest;
            return Ok(list);
        }
        oldest = Some(SubmissionSeq(row.get::<_, i64>(0)? as u64));
        list.ids.push(TaskId::from_bytes(row.get(1)?));
    }
    list.next = floor;
    Ok(list)
}

/// The parts of a query for a filter.
struct ListQuery {
    /// Led by the one with the fewest rows to look at.
    tables: &'static str,
    /// The column that puts them in order.
    seq: &'static str,
    conditions: String,
    params: Vec<Value>,
    /// Whether it looks at tasks that the conditions leave out, however many.
    scans: bool,
}

impl ListQuery {
    fn new(filter: &TaskFilter) -> Self {
        let all = "tasks t LEFT JOIN outcomes o ON o.task_seq = t.seq";
        let open = "open_tasks open CROSS JOIN tasks t ON t.seq = open.task_seq
            LEFT JOIN outcomes o ON o.task_seq = t.seq";
        let without_result = "outcomes o INDEXED BY outcomes_without_result
            CROSS JOIN tasks t ON t.seq = o.task_seq";
        let runs = "EXISTS (SELECT 1 FROM attempts a WHERE a.task_seq = t.seq AND a.ended_at IS NULL)";
        let (tables, seq, condition, narrow) = match filter.state {
            None if filter.is_open => (open, "open.task_seq", String::new(), true),
            None => (all, "t.seq", String::new(), filter.group.is_some()),
            Some(TaskState::Queued) => (open, "open.task_seq", format!("AND NOT {runs}"), true),
            Some(TaskState::Running) => (open, "open.task_seq", format!("AND {runs}"), true),
            Some(TaskState::Succeeded) => {
                (all, "t.seq", "AND o.state = 'succeeded'".to_owned(), filter.group.is_some())
            }
            Some(TaskState::Failed) => (
                without_result,
                "o.task_seq",
                "AND o.state = 'failed' AND o.state <> 'succeeded'".into(),
                true,
            ),
            Some(TaskState::Cancelled) => (
                without_result,
                "o.task_seq",
                "AND o.state = 'cancelled' AND o.state <> 'succeeded'".into(),
                true,
            ),
        };
        let filtered = filter.state.is_some() || filter.pool.is_some() || !filter.labels.is_empty();
        let mut query =
            Self { tables, seq, conditions: condition, params: Vec::new(), scans: filtered && !narrow };
        if let Some(pool) = &filter.pool {
            query.and("t.pool = ?", [pool.as_str()]);
        }
        if let Some(group) = &filter.group {
            query.and("t.task_group = ?", [group]);
        }
        for (key, value) in &filter.labels {
            let has = "EXISTS (SELECT 1 FROM json_each(t.labels) l WHERE l.key = ? AND l.value = ?)";
            query.and(has, [key, value]);
        }
        query
    }

    /// The query for a page of `columns`, newest first, with one row more than `limit`; and where to go on when
    /// there are fewer because not all was looked at.
    fn page(
        self,
        connection: &Connection,
        columns: &str,
        before: Option<SubmissionSeq>,
        limit: usize,
    ) -> Result<(String, Vec<Value>, Option<SubmissionSeq>)> {
        let newest: Option<i64> = connection.query_row("SELECT max(seq) FROM tasks", [], |row| row.get(0))?;
        let newest = newest.unwrap_or_default();
        let before = before.map_or(newest + 1, |seq| (seq.0 as i64).min(newest + 1));
        let floor = if self.scans { before - SCANNED_TASKS } else { 0 };
        let Self { tables, seq, conditions, .. } = self;
        let sql = format!(
            "SELECT {columns} FROM {tables} WHERE {seq} < ? AND {seq} >= ? {conditions} ORDER BY {seq} DESC LIMIT ?"
        );
        let mut params = vec![Value::from(before), Value::from(floor)];
        params.extend(self.params);
        params.push(Value::from(limit as i64 + 1));
        Ok((sql, params, (floor > 1).then_some(SubmissionSeq(floor as u64))))
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [&str; N]) {
        self.conditions.push_str(" AND ");
        self.conditions.push_str(condition);
        self.params.extend(values.iter().map(|value| Value::from((*value).to_owned())));
    }
}
