//! How long a slot waits after a death that was no doing of Docker's users. The first deaths are healed at once; a
//! container that keeps dying young waits longer each time, so that a crash loop does not spin.

use std::time::Duration;

use crate::clock::Moment;

/// A container that lived shorter than this died young.
const YOUNG: Duration = Duration::from_secs(10);
/// So many young deaths in a row cost no wait.
const FREE_DEATHS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The deaths of a slot in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    young_deaths: u32,
}

impl Backoff {
    /// Takes in a death and says from when on there may be a new container. `ready_at` is when the
    /// dead one began to serve, if it ever did.
    pub fn after_death(&mut self, ready_at: Option<Moment>, now: Moment) -> Moment {
        if ready_at.is_some_and(|since| now.since(since) >= YOUNG) {
            self.young_deaths = 0;
            return now;
        }
        self.young_deaths += 1;
        now + self.wait()
    }

    /// Takes in that a container could not be made, which is never worth an immediate retry.
    pub fn after_failure(&mut self, now: Moment) -> Moment {
        self.young_deaths = self.young_deaths.max(FREE_DEATHS) + 1;
        now + self.wait()
    }

    fn wait(self) -> Duration {
        let Some(doublings) = self.young_deaths.checked_sub(FREE_DEATHS + 1) else { return Duration::ZERO };
        FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits_ms(deaths: usize) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let now = Moment::ORIGIN;
        (0..deaths).map(|_| backoff.after_death(None, now).since(now).as_millis() as u64).collect()
    }

    #[test]
    fn the_wait_doubles_after_some_free_deaths_and_is_capped() {
        assert_eq!(waits_ms(6), [0, 0, 0, 500, 1_000, 2_000]);
        assert_eq!(waits_ms(40).last(), Some(&30_000));
    }

    #[test]
    fn a_long_life_clears_the_record() {
        let mut backoff = Backoff { young_deaths: 9 };
        let now = Moment::ORIGIN + YOUNG;
        assert_eq!(backoff.after_death(Some(Moment::ORIGIN), now), now);
        assert_eq!(backoff, Backoff::default());
    }

    #[test]
    fn what_cannot_be_made_is_not_tried_again_at_once() {
        let now = Moment::ORIGIN;
        assert_eq!(Backoff::default().after_failure(now).since(now), FIRST_WAIT);
    }
}
