//! How many requests a standby forwards at once. Each takes a connection to the leader, which takes a share of its
//! connections from one address: whoever waits through a standby must leave some of that share to short requests.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct ForwardLimits {
    all: Arc<Semaphore>,
    /// Those of requests that may take long.
    long: Arc<Semaphore>,
}

/// One forwarded request's place; given back when its answer has been passed on.
#[derive(Debug)]
pub(super) struct ForwardPermit {
    _any: OwnedSemaphorePermit,
    _long: Option<OwnedSemaphorePermit>,
}

impl ForwardLimits {
    /// For a leader that takes so many connections, three quarters of them from one address: half of those are used,
    /// so that two standbys leave it some for others, and three quarters of that half may take long.
    pub(super) fn for_leader_with(connections: usize) -> Self {
        let all = connections / 8 * 3;
        Self { all: Arc::new(Semaphore::new(all)), long: Arc::new(Semaphore::new(all / 4 * 3)) }
    }

    /// A place for a request; `None` when all are taken.
    pub(super) fn enter(&self, may_take_long: bool) -> Option<ForwardPermit> {
        let permit = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
        let long = if may_take_long { Some(permit(&self.long)?) } else { None };
        Some(ForwardPermit { _any: permit(&self.all)?, _long: long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_take_long_leaves_places_to_what_does_not() {
        let limits = ForwardLimits::for_leader_with(64);
        let long: Vec<_> = (0..18).filter_map(|_| limits.enter(true)).collect();
        assert!(long.len() == 18 && limits.enter(true).is_none());
        let short: Vec<_> = (0..6).filter_map(|_| limits.enter(false)).collect();
        assert!(short.len() == 6 && limits.enter(false).is_none());
        drop(short);
        assert!(limits.enter(true).is_none(), "a short one's place is not for a long one");
        drop(long);
        let all: Vec<_> = (0..24).filter_map(|_| limits.enter(false)).collect();
        assert!(all.len() == 24 && limits.enter(true).is_none());
    }
}
