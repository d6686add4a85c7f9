//! When an orchestrator whose container ended is brought back.

use std::time::Duration;

use crate::clock::Moment;

/// How long one that was stopped or removed on purpose is left alone, so that whoever takes the whole
/// cluster down, or makes a container anew, is not worked against.
const STOPPED_REST: Duration = Duration::from_secs(10);
const REMOVED_REST: Duration = Duration::from_secs(15);
/// One that dies again and again is started no more often than this.
const PAUSE: Duration = Duration::from_secs(2);

/// What became of an orchestrator's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fall {
    /// Its process died.
    Crashed,
    /// It ended because it was asked to.
    Stopped,
    /// It is not there any more.
    Removed,
}

/// From when on it may be brought back. `last_try` is when that was last done or tried.
#[must_use]
pub fn revive_at(fall: Fall, fell_at: Moment, last_try: Option<Moment>) -> Moment {
    let rest = match fall {
        Fall::Crashed => Duration::ZERO,
        Fall::Stopped => STOPPED_REST,
        Fall::Removed => REMOVED_REST,
    };
    let rested = fell_at + rest;
    last_try.map_or(rested, |last| rested.max(last + PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FELL: Moment = Moment::ORIGIN;

    #[test]
    fn a_crash_is_healed_at_once_and_a_purpose_is_respected_for_a_while() {
        assert_eq!(revive_at(Fall::Crashed, FELL, None), FELL);
        assert_eq!(revive_at(Fall::Stopped, FELL, None), FELL + STOPPED_REST);
        assert_eq!(revive_at(Fall::Removed, FELL, None), FELL + REMOVED_REST);
    }

    #[test]
    fn one_that_dies_at_once_is_not_started_in_a_spin() {
        let tried = FELL + Duration::from_millis(1);
        assert_eq!(revive_at(Fall::Crashed, FELL, Some(tried)), tried + PAUSE);
    }
}
