//! The store as an SQLite file in WAL mode, on a volume that all orchestrators share.
//!
//! One connection writes, fsync by fsync; a few others read the last committed state beside it: two for
//! pages and callers, one that no page can hold, for what the leading itself waits for, and one for the
//! lease, which nothing can hold. A connection
//! that failed is thrown away and opened again by the next request, so that the store resumes by itself
//! once there is room, or a disk, again.

mod beat;
mod changes;
mod checkpoint;
mod chunk;
mod commit;
mod failure;
#[cfg(any(test, feature = "faults"))]
mod faults;
mod lease;
mod list;
mod logs;
mod pool;
mod registry;
mod restore;
mod schema;
mod statements;
mod tasks;
#[cfg(test)]
mod tests;
mod views;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use clb_protocol::api::{OutcomePage, TaskView};
use clb_protocol::task::NewTask;
use clb_protocol::{Epoch, OutcomeSeq, SubmissionSeq, TaskId, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::beat::BeatFile;
use self::checkpoint::Checkpoints;
use self::commit::Writer;
use self::pool::ReaderPool;
use super::{
    Batch, Claim, Committed, Existing, IdList, Lease, LogFilter, LogFrom, LogRead, ObituaryList, OpenTask,
    Original, Reader, Recovered, Registration, Result, Statistics, Store, StoreError, TaskFilter, TaskList,
    Workload,
};

/// A file that is only read, as the database container does.
#[derive(Debug)]
pub struct SqliteReader {
    /// For pages and callers; a slow one does not hold up the others.
    pages: ReaderPool,
    /// For what the leader hands out.
    leading: ReaderPool,
    /// For who leads.
    lease: ReaderPool,
    beat: BeatFile,
}

/// A file that is read and written.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// `None` before the first change, and after a failure until the next one.
    writer: Mutex<Option<Writer>>,
    /// Whether the file is known to be there and up to date.
    is_ready: AtomicBool,
    checkpoints: Checkpoints,
    reader: SqliteReader,
}

impl SqliteReader {
    /// Reads the file at `path`; [`StoreError::Unavailable`] as long as nobody has made it.
    pub fn open(path: &Path) -> Result<Self> {
        let reader = Self::lazy(path);
        reader.read(|_| Ok(()))?;
        Ok(reader)
    }

    fn lazy(path: &Path) -> Self {
        Self {
            pages: ReaderPool::new(path, 2),
            leading: ReaderPool::new(path, 1),
            lease: ReaderPool::new(path, 1),
            beat: BeatFile::beside(path),
        }
    }

    /// Runs `query` on one state of the file.
    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.pages.with(|connection| in_snapshot(connection, query))
    }
}

fn in_snapshot<T>(connection: &Connection, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let snapshot = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    query(&snapshot)
}

impl SqliteStore {
    /// The file at `path`. The first question for the lease opens it, makes it when there is none and
    /// brings it up to date when it is old; an error is that question's, and the next one tries again.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            writer: Mutex::new(None),
            is_ready: AtomicBool::new(false),
            checkpoints: Checkpoints::of(path),
            reader: SqliteReader::lazy(path),
        }
    }

    /// A file that is there and up to date.
    #[cfg(test)]
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let store = Self::new(path);
        store.make_ready()?;
        Ok(store)
    }

    fn make_ready(&self) -> Result<()> {
        if !self.is_ready.load(Ordering::Acquire) {
            self.write(|_| Ok(()))?;
            self.is_ready.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Runs `change` on the connection that writes. It is taken out meanwhile, so that neither an error
    /// nor a panic leaves a doubtful one behind.
    fn write<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut place = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = match place.take() {
            Some(writer) => writer,
            None => Writer::new(schema::open_writer(&self.path)?),
        };
        let result = change(&mut writer);
        if matches!(&result, Ok(_) | Err(StoreError::Fenced { .. } | StoreError::LeaseLost { .. })) {
            *place = Some(writer);
        }
        drop(place);
        self.checkpoints.take_in();
        result
    }

    /// Runs `change` in a transaction of its own.
    fn transact<T>(&self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.write(|writer| {
            let transaction = writer.begin()?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }
}

impl Reader for SqliteReader {
    fn lease(&self) -> Result<Option<Lease>> {
        let lease = self.lease.with(|connection| in_snapshot(connection, lease::read))?;
        let with_pulse = |lease: Lease| Ok(Lease { pulse: self.beat.read(lease.epoch)?, ..lease });
        lease.map(with_pulse).transpose()
    }

    fn task(&self, id: TaskId) -> Result<Option<TaskView>> {
        self.read(|connection| tasks::one(connection, id))
    }

    fn task_at_once(&self, id: TaskId) -> Option<Result<Option<TaskView>>> {
        self.pages.with_idle(|connection| in_snapshot(connection, |connection| tasks::one(connection, id)))
    }

    fn existing(&self, tasks: &[&NewTask]) -> Result<Vec<Option<Existing>>> {
        self.read(|connection| tasks::existing(connection, tasks))
    }

    fn specs(&self, ids: &[TaskId]) -> Result<Vec<(TaskId, Workload)>> {
        self.leading.with(|connection| in_snapshot(connection, |connection| tasks::specs(connection, ids)))
    }

    fn tasks(&self, filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> Result<TaskList> {
        let mut page = list::Page::new(filter, before, limit);
        while !page.is_over() {
            self.read(|connection| page.read(connection))?;
        }
        Ok(page.finish())
    }

    fn ids(&self, filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> Result<IdList> {
        self.read(|connection| list::ids(connection, filter, before, limit))
    }

    fn groups(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.read(|connection| list::groups(connection, prefix, after, limit))
    }

    fn originals(&self, ids: &[TaskId]) -> Result<Vec<Original>> {
        self.read(|connection| tasks::originals(connection, ids))
    }

    fn outcomes(&self, after: OutcomeSeq, group: Option<&str>, limit: usize) -> Result<OutcomePage> {
        self.read(|connection| tasks::outcomes(connection, after, group, limit))
    }

    fn obituaries(&self, before: Option<u64>, limit: usize) -> Result<ObituaryList> {
        self.read(|connection| registry::obituaries(connection, before, limit))
    }

    fn logs(&self, filter: &LogFilter, from: LogFrom, limit: usize) -> Result<LogRead> {
        self.read(|connection| logs::read(connection, filter, from, limit))
    }

    fn containers(&self) -> Result<Vec<Registration>> {
        self.read(registry::containers)
    }

    fn statistics(&self) -> Result<Statistics> {
        self.read(|connection| registry::statistics(connection, self.pages.path()))
    }

    fn backup(&self, to: &Path) -> Result<()> {
        // On a connection of its own: pages do not wait for it. VACUUM allows no transaction around it.
        let connection = schema::open_reader(self.pages.path())?;
        let Some(to) = to.to_str() else {
            let detail = format!("{} is not a name in UTF-8", to.display());
            return Err(StoreError::Unavailable { detail });
        };
        connection.execute("VACUUM INTO ?", [to])?;
        Ok(())
    }
}

/// Reads go to the reader beside the writer.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        impl Reader for SqliteStore {
            fn lease(&self) -> Result<Option<Lease>> {
                self.make_ready()?;
                self.reader.lease()
            }

            fn task_at_once(&self, id: TaskId) -> Option<Result<Option<TaskView>>> {
                self.reader.task_at_once(id)
            }
        $(
            fn $name(&self, $($argument: $type),*) -> Result<$output> {
                self.reader.$name($($argument),*)
            }
        )*}
    };
}

delegate! {
    task(id: TaskId) -> Option<TaskView>;
    existing(tasks: &[&NewTask]) -> Vec<Option<Existing>>;
    specs(ids: &[TaskId]) -> Vec<(TaskId, Workload)>;
    tasks(filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> TaskList;
    ids(filter: &TaskFilter, before: Option<SubmissionSeq>, limit: usize) -> IdList;
    groups(prefix: &str, after: Option<&str>, limit: usize) -> Vec<String>;
    originals(ids: &[TaskId]) -> Vec<Original>;
    outcomes(after: OutcomeSeq, group: Option<&str>, limit: usize) -> OutcomePage;
    obituaries(before: Option<u64>, limit: usize) -> ObituaryList;
    logs(filter: &LogFilter, from: LogFrom, limit: usize) -> LogRead;
    containers() -> Vec<Registration>;
    statistics() -> Statistics;
    backup(to: &Path) -> ();
}

impl Store for SqliteStore {
    fn acquire(&self, claim: &Claim, seen: Epoch) -> Result<Epoch> {
        self.transact(|connection| lease::acquire(connection, claim, seen))
    }

    fn renew(&self, epoch: Epoch) -> Result<()> {
        self.reader.lease.with(|connection| in_snapshot(connection, |lease| lease::fence(lease, epoch)))?;
        self.reader.beat.beat(epoch, Timestamp::now())
    }

    fn release(&self, epoch: Epoch) -> Result<()> {
        self.transact(|connection| {
            lease::fence(connection, epoch)?;
            lease::release(connection)
        })
    }

    fn restore(&self, epoch: Epoch) -> Result<Recovered> {
        self.transact(|connection| {
            lease::fence(connection, epoch)?;
            restore::restore(connection, epoch)
        })
    }

    fn open_tasks(&self, epoch: Epoch, after: SubmissionSeq, limit: usize) -> Result<Vec<OpenTask>> {
        self.transact(|connection| {
            lease::fence(connection, epoch)?;
            restore::open_tasks(connection, after, limit)
        })
    }

    fn commit(&self, epoch: Epoch, batch: &Batch) -> Result<Committed> {
        self.write(|writer| writer.commit(epoch, batch))
    }

    fn commit_at_once(&self, epoch: Epoch, batch: &Batch) -> Option<Result<Committed>> {
        let mut place = self.writer.try_lock().ok()?;
        let mut writer = place.take()?;
        let result = writer.commit_at_once(epoch, batch);
        if matches!(&result, None | Some(Ok(_) | Err(StoreError::Fenced { .. }))) {
            *place = Some(writer);
        }
        drop(place);
        self.checkpoints.take_in();
        result
    }
}
