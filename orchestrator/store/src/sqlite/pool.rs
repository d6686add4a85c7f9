//! The connections that read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::schema;
use crate::Result;

/// A few connections, opened when they are first needed and lent out in the order of the requests.
#[derive(Debug)]
pub(super) struct ReaderPool {
    path: PathBuf,
    most: usize,
    desk: Mutex<Desk>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    idle: Vec<Connection>,
    lent: usize,
    /// Who waits, by ticket.
    waiting: VecDeque<u64>,
    last_ticket: u64,
}

/// The right to use one connection, and the connection unless it has to be opened.
struct Place<'a> {
    pool: &'a ReaderPool,
    connection: Option<Connection>,
}

impl ReaderPool {
    /// At most `most` connections to the file at `path`.
    pub(super) fn new(path: &Path, most: usize) -> Self {
        Self { path: path.to_owned(), most, desk: Mutex::default(), returned: Condvar::new() }
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lends out a connection, once it is this caller's turn; after an error it is thrown away and the
    /// next use opens another.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.place().read(read)
    }

    /// Lends out a connection that nobody uses and nobody waits for; `None` when there is none.
    pub(super) fn with_idle<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
        let mut desk = self.desk();
        let place = (desk.waiting.is_empty() && desk.lent < self.most).then(|| desk.lend(self))?;
        drop(desk);
        Some(place.read(read))
    }

    fn place(&self) -> Place<'_> {
        let mut desk = self.desk();
        desk.last_ticket += 1;
        let ticket = desk.last_ticket;
        desk.waiting.push_back(ticket);
        while desk.lent == self.most || desk.waiting.front() != Some(&ticket) {
            desk = self.returned.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.waiting.pop_front();
        // Another one may be free for who is next.
        self.returned.notify_all();
        desk.lend(self)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Each change is whole on its own: a panic elsewhere cannot have left half of one.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn lend<'a>(&mut self, pool: &'a ReaderPool) -> Place<'a> {
        self.lent += 1;
        Place { pool, connection: self.idle.pop() }
    }
}

impl Place<'_> {
    fn read<T>(mut self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::open_reader(&self.pool.path)?,
        };
        let result = read(&connection);
        if result.is_ok() {
            self.connection = Some(connection);
        }
        result
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut desk = self.pool.desk();
        desk.lent -= 1;
        desk.idle.extend(self.connection.take());
        self.pool.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::super::SqliteStore;
    use super::*;

    #[test]
    fn who_came_first_reads_first_and_nobody_else_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clb.db");
        drop(SqliteStore::open(&path).unwrap());
        let pool = ReaderPool::new(&path, 1);
        let (order, turns) = mpsc::channel();
        thread::scope(|scope| {
            pool.with(|_| {
                for n in 0..3 {
                    let (pool, order) = (&pool, order.clone());
                    scope.spawn(move || {
                        pool.with(|_| {
                            order.send(n).unwrap();
                            Ok(())
                        })
                    });
                    while pool.desk().waiting.len() <= n {
                        thread::yield_now();
                    }
                }
                assert!(pool.with_idle(|_| Ok(())).is_none());
                Ok(())
            })
            .unwrap();
        });
        assert_eq!(turns.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(pool.with_idle(|_| Ok(())).is_some());
    }
}
