//! Whether the leader's loop still turns. One that does not must not keep the lease for ever: the threads that show
//! the leader's life to others ask here first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one turn may take, and the reading of one page of tasks before the first. Neither takes longer than some
/// tens of milliseconds; what takes so long is a defect, or a disk that hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Watchdog {
    since: Instant,
    /// Milliseconds after `since`.
    turned_ms: AtomicU64,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { since: Instant::now(), turned_ms: AtomicU64::new(0) }
    }
}

impl Watchdog {
    /// The loop turns.
    pub(super) fn kick(&self) {
        self.turned_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Whether the loop does not turn any more.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue_at(self.elapsed_ms())
    }

    fn is_overdue_at(&self, elapsed_ms: u64) -> bool {
        let turned_ms = self.turned_ms.load(Ordering::Relaxed);
        Duration::from_millis(elapsed_ms.saturating_sub(turned_ms)) > LIMIT
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_overdue_when_it_stops_turning() {
        let watchdog = Watchdog::default();
        assert!(watchdog.is_overdue_at(3_600_000), "one that never began, neither");
        watchdog.kick();
        let turned_ms = watchdog.turned_ms.load(Ordering::Relaxed);
        assert!(!watchdog.is_overdue_at(turned_ms + 30_000));
        assert!(watchdog.is_overdue_at(turned_ms + 30_001));
    }
}
