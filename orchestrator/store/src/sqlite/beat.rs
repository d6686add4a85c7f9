//! The leader's beat: a small file beside the store, because the store itself takes one writer at a time and a
//! large commit may take seconds.
//!
//! It is liveness and nothing else, so it is not synced and may be lost with the machine. What is in it counts only
//! for the epoch that it names: that a term still goes on is for the lease to say.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clb_core::lease::Beat;
use clb_protocol::{Epoch, Timestamp};

use crate::{Pulse, Result, StoreError};

/// Epoch, beat and time, eight bytes each.
const RECORD: usize = 24;

/// See the module.
#[derive(Debug)]
pub(super) struct BeatFile {
    path: PathBuf,
    /// How often this process has beaten, and the file once it was opened for that.
    writer: Mutex<(u64, Option<File>)>,
}

impl BeatFile {
    /// The file that belongs to the store at `store`.
    pub(super) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-beat");
        Self { path: path.into(), writer: Mutex::default() }
    }

    /// Moves the beat of this term on.
    pub(super) fn beat(&self, epoch: Epoch, now: Timestamp) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, file) = &mut *writer;
        *count += 1;
        let mut record = [0; RECORD];
        for (place, value) in record.chunks_exact_mut(8).zip([epoch.0, *count, now.0 as u64]) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        let written = match file {
            Some(file) => file.write_all_at(&record, 0),
            None => self.open().and_then(|opened| file.insert(opened).write_all_at(&record, 0)),
        };
        written.map_err(|source| {
            *file = None;
            failure(source)
        })
    }

    /// The last beat of this term; `None` before its first.
    pub(super) fn read(&self, epoch: Epoch) -> Result<Option<Pulse>> {
        let mut record = [0; RECORD];
        match File::open(&self.path).and_then(|file| file.read_exact_at(&mut record, 0)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            Err(source) => return Err(failure(source)),
        }
        let mut values = record.chunks_exact(8).map(|value| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(value);
            u64::from_le_bytes(bytes)
        });
        let [of, count, at] = [(); 3].map(|()| values.next().unwrap_or_default());
        Ok((of == epoch.0).then_some(Pulse { beat: Beat(count), at: Timestamp(at as i64) }))
    }

    fn open(&self) -> io::Result<File> {
        // What was there is overwritten in place, for which a full volume has room.
        OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)
    }
}

fn failure(source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full { source: source.into() }
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            StoreError::ReadOnly { source: source.into() }
        }
        _ => StoreError::Io { source: source.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_counts_for_its_own_term_only_and_the_next_process_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("clb.db");
        let file = BeatFile::beside(&store);
        assert_eq!(file.read(Epoch(3)).unwrap(), None);
        file.beat(Epoch(3), Timestamp(5)).unwrap();
        file.beat(Epoch(3), Timestamp(7)).unwrap();
        assert_eq!(file.read(Epoch(3)).unwrap(), Some(Pulse { beat: Beat(2), at: Timestamp(7) }));
        assert_eq!(file.read(Epoch(4)).unwrap(), None);
        BeatFile::beside(&store).beat(Epoch(4), Timestamp(9)).unwrap();
        assert_eq!(file.read(Epoch(3)).unwrap(), None);
        assert_eq!(file.read(Epoch(4)).unwrap(), Some(Pulse { beat: Beat(1), at: Timestamp(9) }));
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_the_next_beat_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        let deeper = folder.path().join("deeper");
        let file = BeatFile::beside(&deeper.join("clb.db"));
        assert!(file.beat(Epoch(1), Timestamp(1)).unwrap_err().is_transient());
        std::fs::create_dir(&deeper).unwrap();
        file.beat(Epoch(1), Timestamp(2)).unwrap();
        assert_eq!(file.read(Epoch(1)).unwrap().unwrap().at, Timestamp(2));
    }
}
