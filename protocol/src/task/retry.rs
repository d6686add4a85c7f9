//! How long a task rests between its attempts.

use serde::{Deserialize, Serialize};

/// The longest rest, in seconds.
pub const MAX_DELAY_SECONDS: f64 = 86_400.0;
/// The largest factor.
pub const MAX_FACTOR: f64 = 100.0;

/// After its nth spent attempt a task rests `delay` × `factor`ⁿ⁻¹ seconds, at most `max_delay`, shortened or
/// lengthened by up to the fraction `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Seconds. When left out, the first spent attempt is repeated at once and the second rests 0.5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<f64>,
    /// By how much the rest grows with each attempt.
    pub factor: f64,
    /// The longest rest, in seconds.
    pub max_delay: f64,
    /// From 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { delay: None, factor: 2.0, max_delay: 30.0, jitter: 0.0 }
    }
}
