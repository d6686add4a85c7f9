//! Waiting for a state. The limits are for hangs, not for speed: the machine may be slow and shared.

use std::time::{Duration, Instant};

/// Enough for whatever takes a moment.
pub const SOON: Duration = Duration::from_secs(30);
/// Enough for whatever takes several moments, one after the other.
pub const LONG: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `probe` until it succeeds and returns what it gave; panics with `what` and its last error when
/// that takes longer than `limit`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let until = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(found) => return found,
            Err(why) if Instant::now() >= until => {
                panic!("not within {} s: {what}; in the end: {why}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
