//! What a worker is known to use and expected to use soon.
//!
//! The engine samples once a second, so a task that was just given is invisible for up to two
//! samples. Until then a reservation of one slot's share stands for it.

/// The weight of a new sample in the moving average.
const WEIGHT: f64 = 0.5;
/// Memory counts less than CPU: it can be full of useful caches and hurts only at the limit.
const MEMORY_WEIGHT: f64 = 0.25;
/// Loads closer than this are the same load.
const STEP: f64 = 0.05;

/// Measured use with reservations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    cpu: f64,
    memory: f64,
    /// Whether anything was measured yet.
    known: bool,
    /// Tasks given since the last sample that still run.
    fresh: u16,
    /// Tasks given before it, but too late for it to show them.
    ripening: u16,
}

impl Load {
    /// Takes in a sample, as fractions of the container's limits.
    pub fn measure(&mut self, cpu: f64, memory: f64) {
        let weight = if self.known { WEIGHT } else { 1.0 };
        self.cpu += weight * (cpu - self.cpu);
        self.memory += weight * (memory - self.memory);
        self.known = true;
        self.ripening = self.fresh;
        self.fresh = 0;
    }

    /// Reserves a slot's share for a task that was just given.
    pub fn reserve(&mut self) {
        self.fresh = self.fresh.saturating_add(1);
    }

    /// A task ended; the newest reservation is the one most likely its own.
    pub fn release(&mut self) {
        if self.fresh > 0 {
            self.fresh -= 1;
        } else {
            self.ripening = self.ripening.saturating_sub(1);
        }
    }

    /// The predicted load in steps that are larger than the noise of the measurements.
    #[must_use]
    pub fn predicted_steps(&self, slots: u16) -> u64 {
        let reserved = f64::from(self.fresh + self.ripening) / f64::from(slots.max(1));
        ((self.cpu + MEMORY_WEIGHT * self.memory + reserved) / STEP).round() as u64
    }

    /// The formula of 2023, in percent.
    #[must_use]
    pub fn seed_score(&self, running: u16) -> f64 {
        100.0 * self.cpu + 100.0 * self.memory + 5.0 * f64::from(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_lasts_until_a_sample_can_show_the_task() {
        let mut load = Load::default();
        load.reserve();
        assert_eq!(load.predicted_steps(4), 5);
        load.measure(0.0, 0.0);
        assert_eq!(load.predicted_steps(4), 5);
        load.measure(0.0, 0.0);
        assert_eq!(load.predicted_steps(4), 0);
    }

    #[test]
    fn a_task_that_ended_is_not_reserved_for() {
        let mut load = Load::default();
        load.reserve();
        load.release();
        load.release();
        assert_eq!(load.predicted_steps(4), 0);
    }

    #[test]
    fn one_spike_is_not_believed_at_once() {
        let mut load = Load::default();
        load.measure(0.0, 0.0);
        load.measure(1.0, 0.0);
        assert_eq!(load.predicted_steps(1), 10);
    }
}
