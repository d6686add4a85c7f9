//! Keeps the write-ahead log small.
//!
//! In ordinary times the connection that writes moves what is in the log into the file every thousand pages, begins
//! the log anew when nobody reads from it, and then cuts it to [`LOG_BYTES`]. Two things keep the log from its
//! beginning: one who reads for long, as a backup does, and short readers who never pause. Nothing but waiting helps
//! with the first. With the others a thread of its own takes the writer's place for a moment, so that those who
//! come from then on read from the file alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::schema;
use crate::Result;

/// What the log may keep on the disk, empty or not.
pub(super) const LOG_BYTES: u64 = 16 << 20;
/// A log longer than this does not come to its beginning by itself.
const TOO_LONG_BYTES: u64 = 2 * LOG_BYTES;
/// So few pages are moved in a moment while the writer waits.
const FEW_PAGES: i64 = 250;
/// How often it is tried to leave so few to it; a busy writer adds others meanwhile.
const PASSES: usize = 8;
/// How long others have in between to begin reading anew.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a commit may have to wait for the readers before it.
const LONGEST_HOLD: Duration = Duration::from_millis(50);
/// How often that may happen to one.
const REST: Duration = Duration::from_secs(1);
/// How often the log's length is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    log: PathBuf,
    is_under_way: Arc<AtomicBool>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    look: Option<Instant>,
    turn: Option<Instant>,
}

impl Checkpoints {
    /// Those of the store at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self { path: path.to_owned(), log: log.into(), is_under_way: Arc::default(), last: Mutex::default() }
    }

    /// Something was written. Waits for nothing.
    pub(super) fn take_in(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_past = |at: Option<Instant>, rest| at.is_none_or(|at| at + rest <= now);
        if !is_past(last.look, LOOK_EVERY) {
            return;
        }
        last.look = Some(now);
        if self.log_bytes() <= TOO_LONG_BYTES || !is_past(last.turn, REST) {
            return;
        }
        if self.is_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        last.turn = Some(now);
        drop(last);
        let (path, is_under_way) = (self.path.clone(), Arc::clone(&self.is_under_way));
        let started = thread::Builder::new().name("store-log".into()).spawn(move || {
            if let Err(error) = shorten(&path) {
                tracing::debug!("the write-ahead log stays long for now: {error}");
            }
            is_under_way.store(false, Ordering::Release);
        });
        if started.is_err() {
            self.is_under_way.store(false, Ordering::Release);
        }
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

/// Moves everything into the file beside the writer, and begins the log anew unless somebody reads for long: then
/// nothing more can be moved, however often it is tried.
fn shorten(path: &Path) -> Result<()> {
    let connection = schema::open_beside(path, LONGEST_HOLD)?;
    let (pages, mut moved) = checkpoint(&connection, "PASSIVE")?;
    let (mut left, mut is_held) = (pages - moved, true);
    for _ in 0..PASSES {
        if left <= FEW_PAGES {
            break;
        }
        thread::sleep(PAUSE);
        let (pages, newly_moved) = checkpoint(&connection, "PASSIVE")?;
        is_held &= newly_moved == moved;
        (left, moved) = (pages - newly_moved, newly_moved);
    }
    if left <= FEW_PAGES || !is_held {
        checkpoint(&connection, "TRUNCATE")?;
    }
    Ok(())
}

/// How many pages the log has, and how many of them are in the file.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(i64, i64)> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection.query_row(&sql, [], |row| Ok((row.get(1)?, row.get(2)?)))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::SqliteStore;

    const PATIENCE: Duration = Duration::from_mins(3);

    fn write(store: &SqliteStore, bytes: i64) {
        let sql = "INSERT INTO pools VALUES (hex(randomblob(16)), hex(zeroblob(? / 2)), 0)";
        store.transact(|connection| Ok(connection.execute(sql, [bytes])?)).unwrap();
    }

    /// A transaction that sees the store as it is now.
    fn begin_reading(path: &Path) -> Connection {
        let reader = schema::open_reader(path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM lease").unwrap();
        reader
    }

    fn write_beside_a_reader(store: &SqliteStore, reader: Connection) {
        while store.checkpoints.log_bytes() <= 50 << 20 {
            write(store, 1 << 20);
        }
        drop(reader);
    }

    fn write_until_short(store: &SqliteStore) {
        let begun = Instant::now();
        while store.checkpoints.log_bytes() > LOG_BYTES {
            assert!(begun.elapsed() < PATIENCE, "it has {} bytes", store.checkpoints.log_bytes());
            write(store, 1);
        }
    }

    #[test]
    fn the_log_is_short_again_soon_after_somebody_read_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clb.db");
        let store = SqliteStore::open(&path).unwrap();
        write_beside_a_reader(&store, begin_reading(&path));
        write_until_short(&store);
    }

    #[test]
    fn the_log_is_short_again_though_readers_never_pause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clb.db");
        let store = SqliteStore::open(&path).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (mut reader, path) = (begin_reading(&path), &path);
            write_beside_a_reader(&store, begin_reading(path));
            let is_over = &is_over;
            scope.spawn(move || {
                // The next one begins before the last one ends, and after some commits.
                while !is_over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(2));
                    reader = begin_reading(path);
                }
                drop(reader);
            });
            let length = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write_until_short(&store)));
            is_over.store(true, Ordering::Relaxed);
            length.unwrap();
        });
    }
}
