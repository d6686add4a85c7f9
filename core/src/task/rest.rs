//! How long a task waits between its attempts.

use std::time::Duration;

use clb_protocol::TaskId;
use clb_protocol::task::Retry;

use crate::placement::mix;

/// Of a task that asks for no `delay`: its first loss is healed at once; after that the workers may all be
/// dying at this moment, or of this very task.
const FIRST_REST_SECONDS: f64 = 0.5;

/// How long a task rests after its `spent`th attempt that counted; `None` when it goes on at once.
pub(super) fn rest(retry: &Retry, task: TaskId, spent: u32) -> Option<Duration> {
    let (first, growths) = match retry.delay {
        Some(delay) => (delay, spent.checked_sub(1)?),
        None => (FIRST_REST_SECONDS, spent.checked_sub(2)?),
    };
    let growth = retry.factor.powi(i32::try_from(growths).unwrap_or(i32::MAX));
    let plain = if first > 0.0 { (first * growth).min(retry.max_delay) } else { 0.0 };
    let rest = plain * (1.0 + retry.jitter * (2.0 * draw(task, spent) - 1.0));
    Duration::try_from_secs_f64(rest).ok().filter(|rest| !rest.is_zero())
}

/// From 0 to 1, the same for the same attempt whoever asks: a new leader goes on with the rest of the old.
fn draw(task: TaskId, spent: u32) -> f64 {
    (mix(task, u64::from(spent)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId::from_bytes([7; 16]);

    fn rests_ms(retry: Retry, attempts: u32) -> Vec<u128> {
        (1..=attempts).map(|spent| rest(&retry, TASK, spent).unwrap_or_default().as_millis()).collect()
    }

    #[test]
    fn without_a_delay_the_first_attempt_is_repeated_at_once_and_the_rest_doubles() {
        assert_eq!(rests_ms(Retry::default(), 5), [0, 500, 1_000, 2_000, 4_000]);
        assert_eq!(rests_ms(Retry::default(), 100).last(), Some(&30_000));
        let slower = Retry { factor: 10.0, max_delay: 7.0, ..Retry::default() };
        assert_eq!(rests_ms(slower, 4), [0, 500, 5_000, 7_000]);
    }

    #[test]
    fn a_delay_begins_with_the_first_attempt_and_grows_to_its_limit() {
        let retry = Retry { delay: Some(2.0), factor: 3.0, max_delay: 10.0, ..Retry::default() };
        assert_eq!(rests_ms(retry, 4), [2_000, 6_000, 10_000, 10_000]);
        let even = Retry { factor: 1.0, ..retry };
        assert_eq!(rests_ms(even, 3), [2_000; 3]);
        let steep = Retry { factor: 100.0, max_delay: 86_400.0, ..retry };
        assert_eq!(rests_ms(steep, 100).last(), Some(&86_400_000));
    }

    #[test]
    fn no_delay_is_no_rest() {
        let retry = Retry { delay: Some(0.0), factor: 100.0, jitter: 1.0, ..Retry::default() };
        assert!((1..=100).all(|spent| rest(&retry, TASK, spent).is_none()));
    }

    #[test]
    fn jitter_spreads_both_ways_within_its_fraction_and_is_the_same_for_every_leader() {
        let retry =
            Retry { delay: Some(10.0), factor: 1.0, max_delay: 10.0, jitter: 0.5, ..Retry::default() };
        let rests: Vec<f64> = (0..200_u8)
            .map(|n| rest(&retry, TaskId::from_bytes([n; 16]), 1).unwrap().as_secs_f64())
            .collect();
        assert!(rests.iter().all(|seconds| (5.0..=15.0).contains(seconds)), "{rests:?}");
        assert!(rests.iter().any(|seconds| *seconds < 6.0) && rests.iter().any(|seconds| *seconds > 14.0));
        assert_eq!(rest(&retry, TASK, 1), rest(&retry, TASK, 1));
        assert_ne!(rest(&retry, TASK, 1), rest(&retry, TASK, 2));
    }
}
