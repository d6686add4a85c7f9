//! The store as the database reads it: opened as soon as it is there, and again when another file has
//! taken its place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clb_store::sqlite::SqliteReader;
use clb_store::{Reader, Result, StoreError};

/// The place of a store that may come, go and be replaced.
#[derive(Clone)]
pub(super) struct Source {
    path: Arc<Path>,
    opened: Arc<Mutex<Option<Opened>>>,
}

struct Opened {
    file: (u64, u64),
    reader: Arc<dyn Reader>,
}

impl Source {
    /// The store at `path`, whether or not it exists already.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), opened: Arc::default() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that it is in.
    pub(super) fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// What reads it now. Blocks.
    pub(super) fn reader(&self) -> Result<Arc<dyn Reader>> {
        let file = fs::metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        let mut place = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*place
            && Some(opened.file) == file
        {
            return Ok(Arc::clone(&opened.reader));
        }
        *place = None;
        let reader: Arc<dyn Reader> = Arc::new(SqliteReader::open(&self.path)?);
        if let Some(file) = file {
            *place = Some(Opened { file, reader: Arc::clone(&reader) });
        }
        Ok(reader)
    }

    /// Asks it where waiting is allowed.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let source = self.clone();
        let asked = tokio::task::spawn_blocking(move || query(&*source.reader()?));
        asked.await.unwrap_or_else(|error| {
            Err(StoreError::Unavailable { detail: format!("reading it was given up ({error})") })
        })
    }
}
