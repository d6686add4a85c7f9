//! When an orchestrator may take the lease.
//!
//! The lease is liveness, the epoch is safety: taking it too early can at worst replace a healthy
//! leader, which its next commit then tells it; it can never make two leaders act.
//!
//! No clock but the watcher's own is asked: a leader shows that it lives by a beat that moves on and by what it says
//! on its link, and the watcher counts the time in which it saw neither.
//!
//! ```text
//! heard --the beat moves on, the leader speaks, another term begins--> heard
//! heard --nothing of it for TERM--> silent: the lease is there to be taken
//! ```

use std::time::Duration;

use clb_protocol::{Epoch, MemberName};

/// How long a leader may show no sign of life before another takes the lease.
pub const TERM: Duration = Duration::from_secs(2);
/// How often a leader shows one.
pub const RENEWAL: Duration = Duration::from_millis(500);

/// What a leader moves on as long as it leads. How far says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat(pub u64);

/// The lease as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The newest term.
    pub epoch: Epoch,
    /// Who holds or held it.
    pub holder: MemberName,
    /// Whether its holder gave it up on purpose.
    pub is_released: bool,
    /// Its holder's beat; `None` before the first.
    pub beat: Option<Beat>,
}

/// What is known of the leader besides its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderSign {
    /// Nothing speaks against its life.
    None,
    /// Its link closed and it refuses connections, its container does not run, or it simulates a
    /// crash.
    Gone,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseMove {
    /// Take it: the next epoch follows this one.
    Acquire {
        /// The epoch that must still be the newest when it is taken.
        seen: Epoch,
    },
    /// Look again after this time at the latest, or when there is news of the leader.
    Wait(Duration),
}

/// One orchestrator's watch over whoever leads. Times are durations since an origin of the watcher's choice, on a
/// clock that never steps.
#[derive(Clone, Debug)]
pub struct Watch {
    me: MemberName,
    seen: Option<(Epoch, Option<Beat>)>,
    heard_at: Duration,
}

impl Watch {
    /// A watch of the orchestrator `me`, which does not lead.
    #[must_use]
    pub fn new(me: MemberName) -> Self {
        Self { me, seen: None, heard_at: Duration::ZERO }
    }

    /// The leader of the newest term that was seen said something on its link.
    pub fn hear(&mut self, now: Duration) {
        self.heard_at = now;
    }

    /// Takes in the lease as it was read, `None` before the first, and decides.
    pub fn observe(&mut self, lease: Option<&Lease>, sign: LeaderSign, now: Duration) -> LeaseMove {
        let Some(lease) = lease else { return LeaseMove::Acquire { seen: Epoch(0) } };
        let seen = Some((lease.epoch, lease.beat));
        if self.seen != seen {
            (self.seen, self.heard_at) = (seen, now);
        }
        // A lease in its own name is left over from its former life.
        let is_free = lease.holder == self.me || lease.is_released || sign == LeaderSign::Gone;
        match self.patience(now) {
            Some(rest) if !is_free => LeaseMove::Wait(rest),
            _ => LeaseMove::Acquire { seen: lease.epoch },
        }
    }

    /// How much longer the leader may be silent; `None` once it was so for too long.
    #[must_use]
    pub fn patience(&self, now: Duration) -> Option<Duration> {
        (self.heard_at + TERM).checked_sub(now).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: &str, beat: u64) -> Lease {
        Lease { epoch: Epoch(7), holder: holder.into(), is_released: false, beat: Some(Beat(beat)) }
    }

    /// A watch that saw the first beat of another one's term at 10 s.
    fn watch() -> Watch {
        let mut watch = Watch::new("me".into());
        assert_eq!(watch.observe(Some(&lease("other", 1)), LeaderSign::None, s(10)), LeaseMove::Wait(TERM));
        watch
    }

    const TAKE: LeaseMove = LeaseMove::Acquire { seen: Epoch(7) };

    #[test]
    fn the_first_one_takes_it() {
        let mut watch = Watch::new("me".into());
        assert_eq!(watch.observe(None, LeaderSign::None, s(0)), LeaseMove::Acquire { seen: Epoch(0) });
    }

    #[test]
    fn a_leader_that_beats_is_waited_for_however_long_and_one_that_stopped_is_not() {
        let mut watch = watch();
        for second in 11..100 {
            let seen = lease("other", second);
            assert_eq!(watch.observe(Some(&seen), LeaderSign::None, s(second)), LeaseMove::Wait(TERM));
        }
        let last = lease("other", 99);
        assert_eq!(watch.observe(Some(&last), LeaderSign::None, s(100)), LeaseMove::Wait(s(1)));
        assert_eq!(watch.observe(Some(&last), LeaderSign::None, s(101)), TAKE);
    }

    #[test]
    fn a_leader_whose_beat_is_late_is_not_deposed_while_it_speaks() {
        let mut watch = watch();
        for second in 11..100 {
            watch.hear(s(second));
            let still = lease("other", 1);
            assert_eq!(watch.observe(Some(&still), LeaderSign::None, s(second)), LeaseMove::Wait(TERM));
        }
        assert_eq!(watch.patience(s(100)), Some(s(1)));
        assert_eq!(watch.patience(s(101)), None);
    }

    #[test]
    fn a_new_term_has_its_time_from_when_it_is_seen() {
        let mut watch = watch();
        let next = Lease { epoch: Epoch(8), beat: None, ..lease("third", 0) };
        assert_eq!(watch.observe(Some(&next), LeaderSign::None, s(30)), LeaseMove::Wait(TERM));
        assert_eq!(
            watch.observe(Some(&next), LeaderSign::None, s(32)),
            LeaseMove::Acquire { seen: Epoch(8) }
        );
    }

    #[test]
    fn a_lease_that_was_given_up_one_of_a_former_life_and_that_of_a_dead_leader_are_taken_at_once() {
        let released = Lease { is_released: true, ..lease("other", 1) };
        assert_eq!(watch().observe(Some(&released), LeaderSign::None, s(10)), TAKE);
        assert_eq!(watch().observe(Some(&lease("me", 2)), LeaderSign::None, s(10)), TAKE);
        assert_eq!(watch().observe(Some(&lease("other", 1)), LeaderSign::Gone, s(10)), TAKE);
    }
}
