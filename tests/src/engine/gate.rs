//! A socket between a cluster and the engine, through which the engine can be made slow or be taken away
//! from this cluster alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::run;

const ENGINE: &str = "/var/run/docker.sock";
const SOCKET: &str = "docker.sock";
const PIECE_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    folder: PathBuf,
    delay: Arc<watch::Sender<Duration>>,
    doorkeeper: Mutex<Option<AbortHandle>>,
}

impl Gate {
    /// An open gate.
    pub fn open() -> Arc<Self> {
        let folder = std::env::temp_dir().join(format!("{}-engine", run::new_name()));
        fs::create_dir(&folder).expect("a folder for the socket");
        let delay = Arc::new(watch::Sender::new(Duration::ZERO));
        let gate = Self { folder, delay, doorkeeper: Mutex::new(None) };
        gate.come_back();
        Arc::new(gate)
    }

    /// The folder that the socket is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every request waits for so long before the engine hears of it.
    pub fn delay(&self, by: Duration) {
        self.delay.send_replace(by);
    }

    /// The socket is gone, and so is every connection.
    pub fn go_away(&self) {
        if let Some(doorkeeper) = self.doorkeeper().take() {
            doorkeeper.abort();
        }
        // It may never have been there.
        drop(fs::remove_file(self.folder.join(SOCKET)));
    }

    /// The socket is there again.
    pub fn come_back(&self) {
        let path = self.folder.join(SOCKET);
        let listener = UnixListener::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a socket for everybody");
        let delay = Arc::clone(&self.delay);
        let keeper = tokio::spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut visits = tokio::task::JoinSet::new();
            while let Ok((visitor, _)) = listener.accept().await {
                while visits.try_join_next().is_some() {}
                let delay = delay.subscribe();
                visits.spawn(async move { drop(pass(visitor, delay).await) });
            }
        });
        *self.doorkeeper() = Some(keeper.abort_handle());
    }

    fn doorkeeper(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.doorkeeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.go_away();
        drop(fs::remove_dir(&self.folder));
    }
}

async fn pass(visitor: UnixStream, delay: watch::Receiver<Duration>) -> std::io::Result<()> {
    let (mut from_visitor, mut to_visitor) = visitor.into_split();
    let (mut from_engine, to_engine) = UnixStream::connect(ENGINE).await?.into_split();
    let asked = ask(&mut from_visitor, to_engine, delay);
    let answered = copy(&mut from_engine, &mut to_visitor);
    tokio::select! {
        asked = asked => asked,
        answered = answered => answered.map(drop),
    }
}

async fn ask(
    visitor: &mut OwnedReadHalf,
    mut engine: OwnedWriteHalf,
    delay: watch::Receiver<Duration>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = visitor.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        let by = *delay.borrow();
        tokio::time::sleep(by).await;
        engine.write_all(&piece[..length]).await?;
    }
}
