//! The two clocks that a fact comes in with. Durations are measured on the one that never steps; the one on the
//! wall may be set at any time, so it is for records, for people, and for the times that callers name themselves.
//!
//! What a former leader measured is known from the store's records only, by the wall: what is left of a span is
//! then between nothing and all of it, whatever happened to the clock since.

use std::cmp::Ordering;
use std::ops::Add;
use std::time::Duration;

use clb_protocol::Timestamp;

/// A point in time on both clocks. Two are compared by the one that never steps, and a [`Timestamp`] cannot be
/// compared with one.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock on the wall, for records and people.
    pub at: Timestamp,
    /// Microseconds on the clock that never steps, since an origin of the leader's choice.
    steady: i64,
}

impl Moment {
    /// Where both clocks begin in tests.
    #[cfg(test)]
    pub(crate) const ORIGIN: Self = Self { at: Timestamp(0), steady: 0 };

    /// `elapsed` after the origin of the clock that never steps, when the one on the wall says `at`.
    #[must_use]
    pub fn new(at: Timestamp, elapsed: Duration) -> Self {
        Self { at, steady: micros(elapsed) }
    }

    /// The time from `earlier` until `self`; zero when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.steady.saturating_sub(earlier.steady)).unwrap_or(0))
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let span = micros(span);
        Self { at: Timestamp(self.at.0.saturating_sub(span)), steady: self.steady.saturating_sub(span) }
    }

    /// When the clock on the wall will say `at`, unless it is set before; now, when it says more already.
    #[must_use]
    pub fn when(self, at: Timestamp) -> Self {
        self + at.since(self.at)
    }

    /// What the clock on the wall will say at `later`, unless it is set before.
    #[must_use]
    pub fn foretell(self, later: Self) -> Timestamp {
        Timestamp(self.at.0.saturating_add(later.steady.saturating_sub(self.steady)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self { at: self.at + span, steady: self.steady.saturating_add(micros(span)) }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.steady == other.steady
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.steady.cmp(&other.steady)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_step_of_the_clock_on_the_wall_is_no_time_that_passes() {
        let before = Moment::new(Timestamp(0), SECOND);
        let after = Moment::new(Timestamp(7_200_000_000), 2 * SECOND);
        assert_eq!(after.since(before), SECOND);
        assert!(before + SECOND == after && before < after);
        let set_back = Moment::new(Timestamp(-7_200_000_000), 2 * SECOND);
        assert!(set_back == after && set_back > before);
    }

    #[test]
    fn a_time_on_the_wall_comes_when_the_wall_says_so() {
        let now = Moment::new(Timestamp(5_000_000), 9 * SECOND);
        assert_eq!(now.when(Timestamp(6_000_000)), now + SECOND);
        assert_eq!(now.when(Timestamp(4_000_000)), now);
        assert_eq!(now.foretell(Moment::new(Timestamp(0), 10 * SECOND)), Timestamp(6_000_000));
        assert_eq!(now.before(SECOND).at, Timestamp(4_000_000));
    }
}
