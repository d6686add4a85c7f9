//! The clock on the wall, which somebody sets, and what a run decides whatever it says.

use clb_protocol::Timestamp;

use super::World;
use crate::output::Output;

impl World {
    /// Sets the clock on the wall forward by so many seconds, or back.
    pub(in crate::cluster::tests) fn set_clock(&mut self, seconds: i64) {
        self.now.at = Timestamp(self.now.at.0 + seconds * 1_000_000);
    }

    /// What callers wait for by the clock on the wall comes.
    pub(in crate::cluster::tests) fn set_clock_right(&mut self) {
        self.now.at = self.now.at.max(self.latest);
    }

    /// A new leader knows what a former one measured by the clock on the wall only.
    pub(super) fn forget_measures(&mut self) {
        for attempt in self.rows.values_mut().flat_map(|row| row.attempts.values_mut()) {
            let Some(ended) = &mut attempt.ended_at else { continue };
            let at = ended.at;
            *ended = self.now.before(self.now.at.since(at));
            ended.at = at;
        }
    }

    /// Writes down what was decided, without the times on the wall.
    pub(super) fn write_down(&mut self, out: &Output) {
        let Some(decisions) = &mut self.decisions else { return };
        let mut text = String::new();
        for (n, part) in format!("{out:?}").split("Timestamp(").enumerate() {
            text.push_str(if n == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) });
        }
        decisions.push(text);
    }
}
