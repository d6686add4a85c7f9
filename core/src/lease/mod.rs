//! When an orchestrator may take the lease.
//!
//! The lease is liveness, the epoch is safety: taking it too early can at worst replace a healthy
//! leader, which its next commit then tells it; it can never make two leaders act.

use std::time::Duration;

use clb_protocol::{Epoch, MemberName, Timestamp};

/// How long a lease lasts without being renewed.
pub const TERM_MS: u64 = 2_000;
/// How often a leader renews it.
pub const RENEWAL_MS: u64 = 500;

/// The lease as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The newest term.
    pub epoch: Epoch,
    /// Who holds or held it.
    pub holder: MemberName,
    /// Until when, unless it is renewed.
    pub expires_at: Timestamp,
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
    /// Look again at this time, or when there is news of the leader.
    WaitUntil(Timestamp),
}

/// Decides for the orchestrator `me`, which does not lead.
#[must_use]
pub fn decide(lease: Option<&Lease>, me: &MemberName, sign: LeaderSign, now: Timestamp) -> LeaseMove {
    let Some(lease) = lease else {
        return LeaseMove::Acquire { seen: Epoch(0) };
    };
    // A lease in its own name is left over from its former life.
    if lease.holder == *me || sign == LeaderSign::Gone || lease.expires_at <= now {
        return LeaseMove::Acquire { seen: lease.epoch };
    }
    // Clocks of one machine agree; a lease from the far future is from a clock that was set back.
    let longest = now + Duration::from_millis(TERM_MS);
    LeaseMove::WaitUntil(lease.expires_at.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, expires_at: i64) -> Lease {
        Lease { epoch: Epoch(7), holder: holder.into(), expires_at: Timestamp(expires_at) }
    }

    fn decided(lease: &Lease, sign: LeaderSign) -> LeaseMove {
        decide(Some(lease), &"me".into(), sign, Timestamp(1_000))
    }

    #[test]
    fn the_first_one_takes_it() {
        assert_eq!(
            decide(None, &"me".into(), LeaderSign::None, Timestamp(0)),
            LeaseMove::Acquire { seen: Epoch(0) }
        );
    }

    #[test]
    fn a_living_leader_is_waited_for_and_a_dead_one_is_not() {
        let held = lease("other", 5_000);
        assert_eq!(decided(&held, LeaderSign::None), LeaseMove::WaitUntil(Timestamp(5_000)));
        assert_eq!(decided(&held, LeaderSign::Gone), LeaseMove::Acquire { seen: Epoch(7) });
    }

    #[test]
    fn an_expired_lease_and_one_of_a_former_life_are_taken() {
        assert_eq!(decided(&lease("other", 1_000), LeaderSign::None), LeaseMove::Acquire { seen: Epoch(7) });
        assert_eq!(decided(&lease("me", 5_000), LeaderSign::None), LeaseMove::Acquire { seen: Epoch(7) });
    }

    #[test]
    fn a_lease_from_the_far_future_is_looked_at_again_after_a_term() {
        assert_eq!(
            decided(&lease("other", i64::MAX), LeaderSign::None),
            LeaseMove::WaitUntil(Timestamp(2_001_000))
        );
    }
}
