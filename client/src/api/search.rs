//! For how long a call has looked for an orchestrator that serves it. What one held on purpose is no part of that.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
pub(super) struct Search {
    patience: Duration,
    since: Option<Instant>,
}

impl Search {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: None }
    }

    /// An orchestrator that was asked at that time, and might have held the answer for so long, did not serve.
    pub(super) fn note(&mut self, asked_at: Instant, hold: Duration, now: Instant) {
        self.since.get_or_insert_with(|| asked_at.checked_add(hold).map_or(now, |held| held.min(now)));
    }

    /// Since the first one did not serve.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What is left of the patience.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.patience.saturating_sub(self.lasts(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_on_purpose_takes_nothing_from_the_patience() {
        let (second, hold) = (Duration::from_secs(1), Duration::from_secs(30));
        let asked_at = Instant::now();
        let at = |seconds: u32| asked_at + seconds * second;
        let mut broken = Search::new(60 * second);
        broken.note(asked_at, hold, at(20));
        assert_eq!((broken.lasts(at(20)), broken.left(at(20))), (Duration::ZERO, 60 * second));
        broken.note(at(38), hold, at(38));
        assert_eq!((broken.lasts(at(38)), broken.left(at(38))), (18 * second, 42 * second));

        let mut silent = Search::new(60 * second);
        silent.note(asked_at, hold, at(33));
        assert_eq!((silent.lasts(at(33)), silent.left(at(33))), (3 * second, 57 * second));
        assert_eq!(silent.left(at(200)), Duration::ZERO);
    }
}
