//! How far attempts say they are, and what of it the leader has not heard yet.

use std::collections::BTreeMap;

use clb_protocol::api::Progress;
use clb_protocol::link::AttemptProgress;

use crate::run::AttemptKey;

/// The latest word of each attempt that runs and told any.
#[derive(Debug, Default)]
pub(super) struct ProgressTable {
    latest: BTreeMap<AttemptKey, (Progress, bool)>,
}

impl ProgressTable {
    pub(super) fn put(&mut self, key: AttemptKey, progress: Progress) {
        self.latest.insert(key, (progress, false));
    }

    pub(super) fn forget(&mut self, key: AttemptKey) {
        self.latest.remove(&key);
    }

    pub(super) fn clear(&mut self) {
        self.latest.clear();
    }

    pub(super) fn has_unsaid(&self) -> bool {
        self.latest.values().any(|(_, is_said)| !is_said)
    }

    pub(super) fn unsaid(&self) -> Vec<AttemptProgress> {
        let unsaid = self.latest.iter().filter(|(_, (_, is_said))| !is_said);
        unsaid
            .map(|(&(task, attempt), (progress, _))| AttemptProgress {
                task,
                attempt,
                progress: progress.clone(),
            })
            .collect()
    }

    pub(super) fn mark_said(&mut self) {
        self.latest.values_mut().for_each(|(_, is_said)| *is_said = true);
    }

    /// Another leader knows nothing of it.
    pub(super) fn rewind(&mut self) {
        self.latest.values_mut().for_each(|(_, is_said)| *is_said = false);
    }
}
