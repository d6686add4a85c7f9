//! How long to pause after nobody served a request.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double up to [`LONGEST`], each shortened at random by up to a half, so that many
/// callers do not come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    rounds: u32,
}

impl Backoff {
    /// The next pause; at least what the cluster asked for, within reason.
    pub(super) fn pause(&mut self, asked_for: Option<Duration>) -> Duration {
        let full = FIRST.saturating_mul(1 << self.rounds.min(10)).min(LONGEST);
        self.rounds += 1;
        let random = RandomState::new().build_hasher().finish() % 1_000;
        let jittered = full.mul_f64(1.0 - random as f64 / 2_000.0);
        jittered.max(asked_for.unwrap_or_default().min(LONGEST))
    }

    /// Something worked: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.rounds = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_never_past_it() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause(None)).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses[10..].iter().all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST));
        backoff.reset();
        assert!(backoff.pause(None) <= FIRST);
    }

    #[test]
    fn what_the_cluster_asks_for_is_respected_within_reason() {
        assert_eq!(Backoff::default().pause(Some(Duration::from_millis(300))), Duration::from_millis(300));
        assert_eq!(Backoff::default().pause(Some(Duration::from_hours(1))), LONGEST);
    }
}
