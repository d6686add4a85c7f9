//! Who gets a task: filters that say who may, ranks that say who best.
//!
//! Pure: the same candidates and the same task give the same choice. Ties break by the number of
//! running tasks and then by the slot.

mod load;
mod memory;

pub use clb_protocol::pool::Placement as Policy;
use clb_protocol::{SlotNo, TaskId};

pub use load::Load;
pub(crate) use memory::{Memory, Placed, Seen, Shortlist};

/// A worker that may get a task when it has a free slot: it is ready.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its place in the pool.
    pub slot: SlotNo,
    /// How many tasks it has.
    pub running: u16,
    /// How many it may have.
    pub slots: u16,
    /// What it is known and expected to use.
    pub load: Load,
    /// When it was last given a task, as a count of all tasks given.
    pub last_given: u64,
}

/// A decision with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which of the candidates, by index.
    pub index: usize,
    /// By which policy.
    pub policy: Policy,
    /// What it was ranked by; the smallest wins.
    pub rank: u64,
}

/// Chooses among `candidates` those with a free slot; `None` when there is none.
#[must_use]
pub fn choose(policy: Policy, task: TaskId, candidates: &[Candidate]) -> Option<Choice> {
    candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.running < candidate.slots)
        .map(|(index, candidate)| (rank(policy, task, candidate), candidate.running, candidate.slot, index))
        .min()
        .map(|(rank, _, _, index)| Choice { index, policy, rank })
}

pub(crate) fn rank(policy: Policy, task: TaskId, candidate: &Candidate) -> u64 {
    match policy {
        Policy::LeastLoaded => candidate.load.predicted_steps(candidate.slots),
        Policy::Seed => (candidate.load.seed_score(candidate.running) * 1_000.0) as u64,
        Policy::RoundRobin => candidate.last_given,
        Policy::Random => mix(task, u64::from(candidate.slot.0)),
    }
}

/// `SplitMix64`'s finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)
/// over the random half of the id and a number.
pub(crate) fn mix(task: TaskId, number: u64) -> u64 {
    let mut random = [0; 8];
    random.copy_from_slice(&task.as_bytes()[8..]);
    let mut z = u64::from_be_bytes(random) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(slot: u16, cpu: f64, running: u16) -> Candidate {
        let mut load = Load::default();
        load.measure(cpu, 0.0);
        Candidate { slot: SlotNo(slot), running, slots: 4, load, last_given: 0 }
    }

    fn chosen(policy: Policy, candidates: &[Candidate]) -> Option<u16> {
        let task = TaskId::from_bytes([7; 16]);
        choose(policy, task, candidates).map(|choice| candidates[choice.index].slot.0)
    }

    #[test]
    fn the_least_loaded_gets_it() {
        assert_eq!(chosen(Policy::LeastLoaded, &[worker(1, 0.9, 0), worker(2, 0.1, 1)]), Some(2));
    }

    #[test]
    fn noise_in_the_measurements_decides_nothing() {
        assert_eq!(chosen(Policy::LeastLoaded, &[worker(1, 0.006, 1), worker(2, 0.011, 0)]), Some(2));
        assert_eq!(chosen(Policy::LeastLoaded, &[worker(2, 0.0, 0), worker(1, 0.0, 0)]), Some(1));
    }

    #[test]
    fn a_full_worker_gets_nothing_under_any_policy() {
        for policy in [Policy::LeastLoaded, Policy::Seed, Policy::RoundRobin, Policy::Random] {
            assert_eq!(chosen(policy, &[worker(1, 0.0, 4)]), None);
            assert_eq!(chosen(policy, &[worker(1, 0.0, 4), worker(2, 1.0, 3)]), Some(2));
        }
    }

    #[test]
    fn the_seed_counts_five_percent_for_each_task() {
        assert_eq!(chosen(Policy::Seed, &[worker(1, 0.0, 2), worker(2, 0.09, 0)]), Some(2));
        assert_eq!(chosen(Policy::Seed, &[worker(1, 0.0, 1), worker(2, 0.09, 0)]), Some(1));
    }

    #[test]
    fn round_robin_takes_the_one_that_waited_longest() {
        let mut early = worker(2, 0.9, 3);
        early.last_given = 5;
        let mut late = worker(1, 0.0, 0);
        late.last_given = 6;
        assert_eq!(chosen(Policy::RoundRobin, &[late, early]), Some(2));
    }

    #[test]
    fn random_reaches_every_worker() {
        let candidates: Vec<Candidate> = (1..=3).map(|slot| worker(slot, 0.0, 0)).collect();
        let mut hits = [0; 3];
        for n in 0..300_u16 {
            let mut bytes = [0; 16];
            bytes[14..].copy_from_slice(&n.to_be_bytes());
            hits[choose(Policy::Random, TaskId::from_bytes(bytes), &candidates).unwrap().index] += 1;
        }
        assert!(hits.iter().all(|count| (60..=140).contains(count)), "{hits:?}");
    }
}
