//! Log lines: written many to a row, read by scanning a bounded number of them.

use std::time::Duration;

use clb_protocol::api::LogView;
use clb_protocol::{ContainerNo, LogSeq, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use rustc_hash::FxHashMap;

use super::chunk::{self, Line};
use crate::{LogEntry, LogFilter, LogFrom, LogRead, Result, StoreError};

/// So many lines are kept; older ones are dropped.
const KEPT_LINES: u64 = 2_000_000;
/// Dropping happens once in so many lines.
const DROP_INTERVAL_LINES: u64 = 65_536;
/// The most lines in one row.
const CHUNK_LINES: usize = 2_000;
/// After so many lines a read ends and says where to go on.
const SCANNED_LINES: u64 = 200_000;
/// After so many rows a read ends and says where to go on.
const SCANNED_CHUNKS: usize = 20_000;
/// How long before its acceptance and after its end lines may speak of a task.
const TASK_MARGIN: Duration = Duration::from_mins(1);

/// Adds the lines of one commit.
pub(super) fn append(transaction: &Connection, lines: &[LogEntry]) -> Result<()> {
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        return Ok(());
    };
    let sql = "INSERT INTO log_chunks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let mut add = transaction.prepare_cached(sql)?;
    for part in lines.chunks(CHUNK_LINES) {
        let times = part.iter().map(|line| line.at.0);
        add.execute(params![
            part[0].seq.0 as i64,
            part[part.len() - 1].seq.0 as i64,
            times.clone().min(),
            times.max(),
            chunk::encode(part),
        ])?;
    }
    if first.seq.0 / DROP_INTERVAL_LINES != last.seq.next().0 / DROP_INTERVAL_LINES {
        let oldest = last.seq.0.saturating_sub(KEPT_LINES) as i64;
        transaction.execute("DELETE FROM log_chunks WHERE first_seq <= ?1 AND last_seq <= ?1", [oldest])?;
    }
    Ok(())
}

pub(super) fn last_seq(connection: &Connection) -> Result<LogSeq> {
    let sql = "SELECT last_seq FROM log_chunks ORDER BY first_seq DESC LIMIT 1";
    let last: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(LogSeq(last.unwrap_or_default() as u64))
}

pub(super) fn read(
    connection: &Connection,
    filter: &LogFilter,
    from: LogFrom,
    limit: usize,
) -> Result<LogRead> {
    let filter = Matcher::new(connection, filter)?;
    match from {
        LogFrom::After(after) => forwards(connection, &filter, after, limit),
        LogFrom::Before(before) => backwards(connection, &filter, before, limit),
        LogFrom::End => backwards(connection, &filter, last_seq(connection)?.next(), limit),
    }
}

fn forwards(connection: &Connection, filter: &Matcher, after: LogSeq, limit: usize) -> Result<LogRead> {
    let sql = format!(
        "SELECT last_seq, lines FROM log_chunks WHERE first_seq >=
            coalesce((SELECT max(first_seq) FROM log_chunks WHERE first_seq <= ?1), 0) {}
         ORDER BY first_seq",
        filter.window_sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after.next().0 as i64, filter.window.0.0, filter.window.1.0])?;
    let mut found = Found::new(connection);
    let (mut scanned, mut chunks) = (0, 0);
    let mut newer = after;
    'chunks: while let Some(row) = rows.next()? {
        let lines = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        for line in chunk::decode(lines) {
            let line = intact(line)?;
            if line.seq <= after {
                continue;
            }
            if found.views.len() == limit {
                break 'chunks;
            }
            scanned += 1;
            newer = line.seq;
            if filter.matches(&line) {
                found.add(&line)?;
            }
        }
        chunks += 1;
        if scanned >= SCANNED_LINES || chunks >= SCANNED_CHUNKS {
            break;
        }
    }
    let older = (after.0 > 0).then(|| after.next());
    Ok(LogRead { logs: found.views, newer, older })
}

fn backwards(connection: &Connection, filter: &Matcher, before: LogSeq, limit: usize) -> Result<LogRead> {
    let sql = format!(
        "SELECT first_seq, lines FROM log_chunks WHERE first_seq < ?1 {} ORDER BY first_seq DESC",
        filter.window_sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![before.0 as i64, filter.window.0.0, filter.window.1.0])?;
    let mut found = Found::new(connection);
    let (mut scanned, mut chunks) = (0, 0);
    let mut older = None;
    'chunks: while let Some(row) = rows.next()? {
        let lines = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let lines = chunk::decode(lines).map(intact).collect::<Result<Vec<Line<'_>>>>()?;
        for line in lines.iter().rev().filter(|line| line.seq < before) {
            if found.views.len() == limit {
                older = Some(before);
                break 'chunks;
            }
            scanned += 1;
            if filter.matches(line) {
                found.add(line)?;
            }
        }
        chunks += 1;
        if scanned >= SCANNED_LINES || chunks >= SCANNED_CHUNKS {
            older = Some(LogSeq(row.get::<_, i64>(0)? as u64));
            break;
        }
    }
    found.views.reverse();
    if let (Some(older), Some(oldest)) = (&mut older, found.views.first()) {
        *older = (*older).min(oldest.seq);
    }
    Ok(LogRead { logs: found.views, newer: LogSeq(before.0.saturating_sub(1)), older })
}

fn intact(line: Option<Line<'_>>) -> Result<Line<'_>> {
    line.ok_or_else(|| StoreError::Corrupt { detail: "a row of log lines cannot be read".into() })
}

/// A filter with what it needs from the file.
struct Matcher {
    /// The numbers of all containers of the name; sorted.
    containers: Option<Vec<ContainerNo>>,
    task: Option<TaskId>,
    /// When lines of the task can have been written.
    window: (Timestamp, Timestamp),
}

impl Matcher {
    fn new(connection: &Connection, filter: &LogFilter) -> Result<Self> {
        let containers = match &filter.container {
            None => None,
            Some(name) => {
                let sql = "SELECT no FROM containers WHERE name = ? ORDER BY no";
                let mut statement = connection.prepare_cached(sql)?;
                let numbers = statement.query_map([name], |row| Ok(ContainerNo(row.get(0)?)))?;
                Some(numbers.collect::<rusqlite::Result<Vec<ContainerNo>>>()?)
            }
        };
        let window = match filter.task {
            None => None,
            Some(task) => window(connection, task)?,
        };
        Ok(Self {
            containers,
            task: filter.task,
            window: window.unwrap_or((Timestamp(i64::MIN), Timestamp(i64::MAX))),
        })
    }

    /// Leaves out rows without a line from the window.
    fn window_sql(&self) -> &'static str {
        if self.task.is_some() {
            "AND first_seq IN (SELECT first_seq FROM log_chunks WHERE last_at BETWEEN ?2 AND ?3)"
        } else {
            "AND ?2 < ?3"
        }
    }

    fn matches(&self, line: &Line<'_>) -> bool {
        self.task.is_none_or(|task| line.task == Some(task))
            && self.containers.as_ref().is_none_or(|numbers| numbers.binary_search(&line.container).is_ok())
    }
}

/// From a while before the task was accepted until a while after it ended; `None` when it is unknown.
fn window(connection: &Connection, task: TaskId) -> Result<Option<(Timestamp, Timestamp)>> {
    let sql = "SELECT t.submitted_at, o.finished_at FROM tasks t LEFT JOIN outcomes o ON o.task_seq = t.seq
        WHERE t.id = ?";
    let times: Option<(i64, Option<i64>)> = connection
        .prepare_cached(sql)?
        .query_row([task.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(times.map(|(submitted, finished)| {
        let from = submitted.saturating_sub(TASK_MARGIN.as_micros() as i64);
        (Timestamp(from), finished.map_or(Timestamp(i64::MAX), |at| Timestamp(at) + TASK_MARGIN))
    }))
}

/// Lines for a page.
struct Found<'c> {
    connection: &'c Connection,
    names: FxHashMap<ContainerNo, String>,
    views: Vec<LogView>,
}

impl<'c> Found<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { connection, names: FxHashMap::default(), views: Vec::new() }
    }

    fn add(&mut self, line: &Line<'_>) -> Result<()> {
        let container = if let Some(name) = self.names.get(&line.container) {
            name.clone()
        } else {
            let mut find = self.connection.prepare_cached("SELECT name FROM containers WHERE no = ?")?;
            let name: Option<String> = find.query_row([line.container.0], |row| row.get(0)).optional()?;
            let name = name.unwrap_or_else(|| format!("container-{}", line.container));
            self.names.insert(line.container, name.clone());
            name
        };
        self.views.push(LogView {
            seq: line.seq,
            at: line.at,
            container,
            container_id: line.container,
            task: line.task,
            message: line.message(),
        });
        Ok(())
    }
}
