//! Telling whoever wants to know that nobody serves, while a call goes on looking.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Url;

use super::Client;
use crate::Setback;

/// An outage shorter than this is not worth a word: a take-over takes less.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// What became of the contact with the cluster.
#[derive(Debug)]
pub enum Contact<'a> {
    /// A call has found nobody that serves it for more than a second, and goes on looking.
    Lost {
        /// What the orchestrator asked last said.
        setback: &'a Setback,
        /// For how much longer it looks.
        left: Duration,
    },
    /// This orchestrator serves again.
    Regained(&'a Url),
}

#[derive(Clone)]
pub(super) struct Listener(Arc<dyn Fn(Contact<'_>) + Send + Sync>);

impl Listener {
    pub(super) fn new(listener: impl Fn(Contact<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Client {
    /// A call will have looked for `searched` without being served before it asks again.
    pub(super) fn note_setback(&self, setback: &Setback, searched: Duration, left: Duration) {
        let Some(Listener(listener)) = &self.listener else { return };
        if searched > WORTH_A_WORD && !self.inner.is_out_of_contact.swap(true, Ordering::Relaxed) {
            listener(Contact::Lost { setback, left });
        }
    }

    /// This orchestrator answered.
    pub(super) fn note_answer(&self, url: &Url) {
        let Some(Listener(listener)) = &self.listener else { return };
        if self.inner.is_out_of_contact.swap(false, Ordering::Relaxed) {
            listener(Contact::Regained(url));
        }
    }
}
