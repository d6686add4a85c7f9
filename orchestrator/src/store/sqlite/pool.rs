//! The connections that read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;

use super::schema;
use crate::store::Result;

/// Two, so that one slow page does not hold up the others.
const CONNECTIONS: usize = 2;

/// A few connections, opened when they are first needed.
#[derive(Debug)]
pub(super) struct ReaderPool {
    path: PathBuf,
    connections: [Mutex<Option<Connection>>; CONNECTIONS],
}

impl ReaderPool {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connections: Default::default() }
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lends out a connection; after an error it is thrown away and the next use opens another.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut place = self.free_place();
        let connection = match place.take() {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        let result = read(&connection);
        if result.is_ok() {
            *place = Some(connection);
        }
        result
    }

    /// A place that nobody uses; waits for the first when all are in use.
    fn free_place(&self) -> MutexGuard<'_, Option<Connection>> {
        for place in &self.connections {
            match place.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.connections[0].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
