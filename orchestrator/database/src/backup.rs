//! `GET /backup`: a consistent copy of the store, made while the system runs, one at a time.
//!
//! The copy is made beside the store, where there is room for it, and has no name any more as soon as
//! it is being sent: it is gone with the last reader, however that ends.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clb_door::Refusal;
use clb_protocol::Timestamp;
use clb_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::pages::Desk;
use super::source::Source;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read ahead of the network.
const CHUNKS_AHEAD: usize = 2;
/// A download that takes nothing for so long makes room for the next.
const STALL_LIMIT: Duration = Duration::from_mins(1);
const RETRY_AFTER_S: u32 = 5;
/// How long a download waits for the one before it.
const TURN_LIMIT: Duration = Duration::from_secs(1);
const MARK: &str = "snapshot-";

/// The copies of one store.
#[derive(Clone)]
pub(super) struct Backups {
    source: Source,
    one: Arc<Semaphore>,
}

/// A copy that is ready to be sent.
struct Copy {
    file: File,
    bytes: u64,
    _turn: OwnedSemaphorePermit,
}

/// Removes the file that it names, in any case.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        for path in [self.0.clone(), journal_of(&self.0)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{} is left over: {error}", path.display());
                }
                _ => {}
            }
        }
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    /// Another one is on its way. Ask again when it is done.
    #[error("Another backup is being made or downloaded; ask again when it is done.")]
    Busy,
    /// The store's fault; its message says what to do.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The volume's fault.
    #[error("the copy of the store cannot be read: {0}")]
    Copy(#[from] io::Error),
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        let status = match error {
            BackupError::Busy => StatusCode::TOO_MANY_REQUESTS,
            BackupError::Store(_) | BackupError::Copy(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string()).retry_after(RETRY_AFTER_S)
    }
}

impl Backups {
    pub(super) fn new(source: Source) -> Self {
        Self { source, one: Arc::new(Semaphore::new(1)) }
    }

    /// Removes the copies of a process that was killed while it made them.
    pub(super) fn remove_leftovers(&self) {
        let Ok(folder) = fs::read_dir(self.source.folder()) else { return };
        for entry in folder.flatten() {
            if entry.file_name().to_str().is_some_and(|name| is_ours(self.source.path(), name)) {
                drop(Temporary(entry.path()));
            }
        }
    }

    async fn make(&self) -> Result<Copy, BackupError> {
        // The end of a download is known here a moment after its last byte was read.
        let turn = timeout(TURN_LIMIT, Arc::clone(&self.one).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(BackupError::Busy)?;
        let (source, folder) = (self.source.clone(), self.source.folder());
        // The turn goes along: when the asker leaves, the copy is finished all the same.
        let made = tokio::task::spawn_blocking(move || {
            let name = format!("{}{}", prefix(source.path()), uuid::Uuid::now_v7().simple());
            let temporary = Temporary(folder.join(name));
            source.reader()?.backup(&temporary.0)?;
            let file = File::open(&temporary.0)?;
            let bytes = file.metadata()?.len();
            Ok(Copy { file, bytes, _turn: turn })
        });
        made.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }
}

fn prefix(store: &Path) -> String {
    let name = store.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{MARK}")
}

fn journal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    name.into()
}

/// Whether a file's name is one that [`Backups::make`] gives.
fn is_ours(store: &Path, name: &str) -> bool {
    let name = name.strip_suffix("-journal").unwrap_or(name);
    let Some(id) = name.strip_prefix(&prefix(store)) else { return false };
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Copy {
    /// Sends it part by part; the sender's end is the end of the copy.
    fn into_body(self) -> Body {
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let mut copy = self;
            loop {
                let read = tokio::task::spawn_blocking(move || {
                    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                    let read = copy.file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
                    (copy, read.map(|_| Bytes::from(chunk)))
                });
                let Ok((back, chunk)) = read.await else { return };
                copy = back;
                let is_end = chunk.as_ref().is_ok_and(Bytes::is_empty) || chunk.is_err();
                let is_taken = timeout(STALL_LIMIT, sender.send(chunk)).await;
                if is_end || !matches!(is_taken, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Body::from_stream(ReceiverStream::new(receiver))
    }
}

pub(super) async fn download(method: Method, State(desk): State<Desk>) -> Result<Response, Refusal> {
    let headers = [
        (CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", file_name(&desk, Timestamp::now()))),
    ];
    if method == Method::HEAD {
        // Looking costs nothing.
        return Ok(headers.into_response());
    }
    let copy = desk.backups().make().await?;
    desk.journal().write(format!("A backup of {} bytes is handed out", copy.bytes));
    let length = [(CONTENT_LENGTH, copy.bytes)];
    Ok((headers, length, copy.into_body()).into_response())
}

fn file_name(desk: &Desk, now: Timestamp) -> String {
    let name = desk.cluster().chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
    let time: String = now.to_string().chars().take(19).filter(|letter| !"-:".contains(*letter)).collect();
    format!("{}-{time}Z.db", name.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef".repeat(2);
        let ours = [format!(".clb.db.snapshot-{id}"), format!(".clb.db.snapshot-{id}-journal")];
        let others = [
            "clb.db".to_owned(),
            "clb.db-wal".to_owned(),
            ".clb.db.snapshot-mine".to_owned(),
            format!(".other.db.snapshot-{id}"),
            format!("clb.db.snapshot-{id}"),
        ];
        for name in ours.iter().chain(&others) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        Backups::new(Source::new(&folder.path().join("clb.db"))).remove_leftovers();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = others.to_vec();
        expected.sort();
        assert_eq!(left, expected);
    }
}
