//! The clocks of this process, read together: what the core is told with each fact.

use std::sync::LazyLock;
use std::time::Instant;

use clb_core::clock::Moment;
use clb_protocol::Timestamp;

/// Moments are compared within one process only.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What both clocks say.
pub(crate) fn now() -> Moment {
    let origin = *ORIGIN;
    Moment::new(wall(), origin.elapsed())
}

/// When `moment` is due on the clock that timers use.
pub(crate) fn instant_of(moment: Moment) -> tokio::time::Instant {
    tokio::time::Instant::now() + moment.since(now())
}

fn wall() -> Timestamp {
    let at = Timestamp::now();
    #[cfg(test)]
    let at = stepping::stepped(at);
    at
}

#[cfg(test)]
pub(crate) use stepping::step;

/// The clock on the wall, as a test sets it for its own thread.
#[cfg(test)]
mod stepping {
    use std::cell::Cell;

    use clb_protocol::Timestamp;

    thread_local! {
        static STEPPED: Cell<i64> = const { Cell::new(0) };
    }

    /// Sets it forward by so many seconds, or back.
    pub(crate) fn step(seconds: i64) {
        STEPPED.set(STEPPED.get() + seconds * 1_000_000);
    }

    pub(super) fn stepped(at: Timestamp) -> Timestamp {
        Timestamp(at.0 + STEPPED.get())
    }
}
