//! Lists of tasks, newest first.
//!
//! A filter may leave out nearly all of a million tasks. They are looked at in pieces, each a read of its
//! own, so that no list holds a connection for long.

use clb_protocol::api::TaskState;
use clb_protocol::{SubmissionSeq, TaskId, TaskIdPart};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::views::{COLUMNS, PlacedTask, select};
use crate::{IdList, Result, TaskFilter, TaskList};

/// So many tasks are looked at in one read: a few tens of milliseconds.
pub(super) const SCANNED_TASKS: usize = 20_000;
/// A beginning of an id with so many digits is looked for among ids in their order: they begin with the time, and those
/// of about a minute share the first eight.
const LONG_BEGINNING: usize = 8;
/// A page is the result of at most so many reads: enough for a million tasks.
const MOST_READS: usize = 50;

/// A page of tasks that is being put together.
pub(super) struct Page<'a> {
    filter: &'a TaskFilter,
    limit: usize,
    list: TaskList,
    bytes: usize,
    reads: usize,
    is_over: bool,
}

/// What one read gives.
struct Piece {
    tasks: Vec<PlacedTask>,
    next: Option<SubmissionSeq>,
    /// Whether all was looked at that there is, or the page is full.
    is_last: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(filter: &'a TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> Self {
        let list = TaskList { tasks: Vec::new(), next: before };
        Self { filter, limit, list, bytes: 0, reads: 0, is_over: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Reads on.
    pub(super) fn read(&mut self, connection: &Connection) -> Result<()> {
        let missing = self.limit - self.list.tasks.len();
        let piece = piece(connection, self.filter, self.list.next, missing, self.bytes)?;
        self.bytes += piece.tasks.iter().map(PlacedTask::bytes).sum::<usize>();
        self.reads += 1;
        self.is_over = piece.is_last || self.reads == MOST_READS;
        self.list.tasks.extend(piece.tasks.into_iter().map(|task| task.view));
        self.list.next = piece.next;
        Ok(())
    }

    pub(super) fn finish(self) -> TaskList {
        self.list
    }
}

fn piece(
    connection: &Connection,
    filter: &TaskFilter,
    before: Option<SubmissionSeq>,
    limit: usize,
    used: usize,
) -> Result<Piece> {
    let (sql, params, floor) =
        ListQuery::new(connection, filter)?.page(connection, COLUMNS, before, limit)?;
    let (mut tasks, is_cut) = select(connection, &sql, params_from_iter(params), used)?;
    if is_cut || tasks.len() > limit {
        tasks.truncate(limit);
        let next = tasks.last().map(|task| task.submission).or(before);
        return Ok(Piece { tasks, next, is_last: true });
    }
    let is_last = floor.is_none() || tasks.len() == limit;
    Ok(Piece { tasks, next: floor, is_last })
}

/// The names of tasks, from one read.
pub(super) fn ids(
    connection: &Connection,
    filter: &TaskFilter,
    before: Option<SubmissionSeq>,
    limit: usize,
) -> Result<IdList> {
    let (sql, params, floor) =
        ListQuery::new(connection, filter)?.page(connection, "t.seq, t.id", before, limit)?;
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

/// The names of groups, each found by one look into the index, however many tasks it has.
pub(super) fn groups(
    connection: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    let next = |compared: &str| {
        format!("SELECT task_group FROM tasks WHERE task_group {compared} ? ORDER BY task_group LIMIT 1")
    };
    let mut from = connection.prepare_cached(&next(">="))?;
    let mut behind = connection.prepare_cached(&next(">"))?;
    let mut found = match after.filter(|after| *after >= prefix) {
        Some(after) => behind.query_row([after], |row| row.get(0)).optional()?,
        None => from.query_row([prefix], |row| row.get(0)).optional()?,
    };
    let mut groups: Vec<String> = Vec::new();
    while let Some(group) = found.filter(|group: &String| group.starts_with(prefix) && groups.len() < limit) {
        found = behind.query_row([&group], |row| row.get(0)).optional()?;
        groups.push(group);
    }
    Ok(groups)
}

/// The table that a query goes through, and how it comes from there to the tasks and their outcomes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lead {
    table: &'static str,
    /// The column that puts its rows in order.
    seq: &'static str,
    others: &'static str,
}

const ALL: Lead =
    Lead { table: "tasks t", seq: "t.seq", others: "LEFT JOIN outcomes o ON o.task_seq = t.seq" };
const BY_ID: Lead = Lead { table: "tasks t INDEXED BY sqlite_autoindex_tasks_1", ..ALL };
const OPEN: Lead = Lead {
    table: "open_tasks open",
    seq: "open.task_seq",
    others: "CROSS JOIN tasks t ON t.seq = open.task_seq LEFT JOIN outcomes o ON o.task_seq = t.seq",
};
const WITHOUT_RESULT: Lead = Lead {
    table: "outcomes o INDEXED BY outcomes_without_result",
    seq: "o.task_seq",
    others: "CROSS JOIN tasks t ON t.seq = o.task_seq",
};

/// The parts of a query for a filter.
struct ListQuery {
    lead: Lead,
    /// Which of the lead's rows; an index has them in a row.
    among: Condition,
    /// Which of those; each has to be looked at.
    conditions: Condition,
}

#[derive(Default)]
struct Condition {
    sql: String,
    params: Vec<Value>,
}

impl Condition {
    fn and<const N: usize>(&mut self, condition: &str, values: [&str; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.params.extend(values.iter().map(|value| Value::from((*value).to_owned())));
    }
}

impl ListQuery {
    fn new(connection: &Connection, filter: &TaskFilter) -> Result<Self> {
        let mut query = Self::led(filter);
        let runs = "EXISTS (SELECT 1 FROM attempts a WHERE a.task_seq = t.seq AND a.ended_at IS NULL)";
        match filter.state {
            Some(TaskState::Queued) => query.conditions.and(&format!("NOT {runs}"), []),
            Some(TaskState::Running) => query.conditions.and(runs, []),
            Some(TaskState::Succeeded) => query.conditions.and("o.state = 'succeeded'", []),
            Some(TaskState::Failed | TaskState::Cancelled) | None => {}
        }
        if let Some(part) = &filter.id
            && !query.is_led_by_id(connection, part)?
        {
            let fits = "(hex(t.id) LIKE ? || '%' OR hex(t.id) LIKE '%' || ?)";
            query.conditions.and(fits, [part.digits(), part.digits()]);
        }
        if let Some(is_replayed) = filter.is_replayed {
            let not = if is_replayed { "" } else { "NOT " };
            let has = "EXISTS (SELECT 1 FROM tasks r WHERE r.replay_of = t.id)";
            query.conditions.and(&format!("{not}{has}"), []);
        }
        if let Some(pool) = &filter.pool {
            query.conditions.and("t.pool = ?", [pool.as_str()]);
        }
        for (key, value) in &filter.labels {
            let has = "EXISTS (SELECT 1 FROM json_each(t.labels) l WHERE l.key = ? AND l.value = ?)";
            query.conditions.and(has, [key, value]);
        }
        Ok(query)
    }

    /// Whether ids begin with this part and lead to all that is wanted; those that end with it are left out then.
    fn is_led_by_id(&mut self, connection: &Connection, part: &TaskIdPart) -> Result<bool> {
        const RANGE: &str = "t.id BETWEEN unhex(?) AND unhex(?)";
        let digits = part.digits();
        if self.lead != ALL || digits.len() < LONG_BEGINNING {
            return Ok(false);
        }
        let (first, last) = (format!("{digits:0<32}"), format!("{digits:F<32}"));
        let sql = format!("SELECT 1 FROM tasks t WHERE {RANGE} LIMIT 1");
        let is_there = connection.prepare_cached(&sql)?.exists([&first, &last])?;
        if is_there {
            self.lead = BY_ID;
            // A group has an index too, and is no part of this one.
            let others = std::mem::take(&mut self.among);
            self.conditions.sql.insert_str(0, &others.sql);
            self.conditions.params.splice(0..0, others.params);
            self.among.and(RANGE, [&first, &last]);
        }
        Ok(is_there)
    }

    /// Led by what has the fewest rows to look at.
    fn led(filter: &TaskFilter) -> Self {
        let (mut among, mut conditions) = (Condition::default(), Condition::default());
        let lead = match filter.state {
            Some(TaskState::Queued | TaskState::Running) => OPEN,
            None if filter.is_open => OPEN,
            Some(state @ (TaskState::Failed | TaskState::Cancelled)) => {
                among.and("o.state = ? AND o.state <> 'succeeded'", [state.as_str()]);
                WITHOUT_RESULT
            }
            None | Some(TaskState::Succeeded) => ALL,
        };
        if let Some(group) = &filter.group {
            let part = if lead == ALL { &mut among } else { &mut conditions };
            part.and("t.task_group = ?", [group]);
        }
        Self { lead, among, conditions }
    }

    /// The query for a page of `columns`, newest first, with one row more than `limit`; and where to go on
    /// when there are fewer because not all was looked at.
    fn page(
        self,
        connection: &Connection,
        columns: &str,
        before: Option<SubmissionSeq>,
        limit: usize,
    ) -> Result<(String, Vec<Value>, Option<SubmissionSeq>)> {
        let before = before.map_or(i64::MAX, |seq| i64::try_from(seq.0).unwrap_or(i64::MAX));
        let floor = if self.conditions.sql.is_empty() { None } else { self.floor(connection, before)? };
        let Self { lead: Lead { table, seq, others }, among, conditions } = self;
        let sql = format!(
            "SELECT {columns} FROM {table} {others} WHERE {seq} < ? AND {seq} >= ? {} {} ORDER BY {seq} DESC LIMIT ?",
            among.sql, conditions.sql
        );
        let mut params = vec![Value::from(before), Value::from(floor.unwrap_or_default())];
        params.extend(among.params);
        params.extend(conditions.params);
        params.push(Value::from(limit as i64 + 1));
        Ok((sql, params, floor.map(|seq| SubmissionSeq(seq as u64))))
    }

    /// The last row that is looked at, unless there are not as many.
    fn floor(&self, connection: &Connection, before: i64) -> Result<Option<i64>> {
        let Self { lead: Lead { table, seq, .. }, among, .. } = self;
        let sql = format!(
            "SELECT {seq} FROM {table} WHERE {seq} < ? {} ORDER BY {seq} DESC LIMIT 1 OFFSET ?",
            among.sql
        );
        let mut params = vec![Value::from(before)];
        params.extend(among.params.iter().cloned());
        params.push(Value::from(SCANNED_TASKS as i64 - 1));
        let mut find = connection.prepare_cached(&sql)?;
        Ok(find.query_row(params_from_iter(params), |row| row.get(0)).optional()?)
    }
}
