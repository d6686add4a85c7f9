//! Opening a file: whose it is, how old it is, and the steps that bring it up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::checkpoint::LOG_BYTES;
use super::failure::classify;
use crate::{Result, StoreError};

/// Marks a file as a store of CLB: "CLB1" in ASCII.
const APPLICATION_ID: i32 = 0x434c_4231;
/// Step n brings a file from version n - 1 to version n. Steps that were released never change.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_waiting_and_replays.sql"),
    include_str!("migrations/0003_pools.sql"),
];
/// How long to wait for another process's lock before giving up.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(500);
/// More statements than a connection ever uses.
const STATEMENTS: usize = 64;

/// Opens the file for writing; makes it when it does not exist, brings it up to date when it is old.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = connect(path, flags)?;
    // Nothing may be written, not even the journal mode, before the file is known to be a store.
    let version = version(&connection, path)?;
    let settings = "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 1000;";
    connection.execute_batch(settings).map_err(classify)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES as i64).map_err(classify)?;
    if version < newest() {
        migrate(&connection, path)?;
    }
    Ok(connection)
}

/// Opens a file that somebody else writes, to move what is in its log; waits `wait` for each lock.
pub(super) fn open_beside(path: &Path, wait: Duration) -> Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(wait).map_err(classify)?;
    Ok(connection)
}

/// Opens the file for reading. It must be there and up to date.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    if !path.exists() {
        let detail = format!("{} does not exist; the first orchestrator makes it", path.display());
        return Err(StoreError::Unavailable { detail });
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if version(&connection, path)? < newest() {
        let detail = format!("{} is not set up yet; the first orchestrator does that", path.display());
        return Err(StoreError::Unavailable { detail });
    }
    connection.execute_batch("PRAGMA cache_size = -2048;").map_err(classify)?;
    Ok(connection)
}

fn newest() -> u32 {
    MIGRATIONS.len() as u32
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(classify)?;
    connection.busy_timeout(LOCK_WAIT).map_err(classify)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // The images have no directory for temporary files.
    connection.execute_batch("PRAGMA temp_store = MEMORY;").map_err(classify)?;
    Ok(connection)
}

/// The file's version; 0 when it is empty.
fn version(connection: &Connection, path: &Path) -> Result<u32> {
    let read = || -> rusqlite::Result<(i32, u32, bool)> {
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let empty = connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, version, empty))
    };
    let (application, version, empty) = match read() {
        Ok(found) => found,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(StoreError::NotOurs { path: path.display().to_string() });
        }
        Err(error) => return Err(classify(error)),
    };
    match (application, version) {
        (0, 0) if empty => Ok(0),
        (APPLICATION_ID, found) if found > newest() => {
            Err(StoreError::NewerVersion { found, known: newest() })
        }
        (APPLICATION_ID, found) => Ok(found),
        _ => Err(StoreError::NotOurs { path: path.display().to_string() }),
    }
}

fn migrate(connection: &Connection, path: &Path) -> Result<()> {
    let step = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(classify)?;
    // Another orchestrator may have been faster.
    let from = version(&step, path)?;
    for migration in MIGRATIONS.iter().skip(from as usize) {
        step.execute_batch(migration).map_err(classify)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID).map_err(classify)?;
    step.pragma_update(None, "user_version", newest()).map_err(classify)?;
    step.commit().map_err(classify)
}
