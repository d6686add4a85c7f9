//! Why tasks were placed where they were, for whoever asks: remembered while they run, and of the last ones
//! that ran. It is written with every task that is given, so it is one small allocation and no text.

use std::collections::VecDeque;

use clb_protocol::{AttemptNo, PoolName, SlotNo, TaskId, Timestamp};

use crate::lookup::Lookup;

use super::{Candidate, Choice, Policy, rank};

/// How many placements are remembered after their attempt has ended.
const REMEMBERED: usize = 10_000;
/// How many candidates are remembered beside the chosen one.
const OTHERS: usize = 8;

/// A candidate as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What it was ranked by.
    pub(crate) rank: u64,
    /// Its place in the pool.
    pub(crate) slot: SlotNo,
    /// How many tasks it had.
    pub(crate) running: u16,
    /// How many it might have.
    pub(crate) slots: u16,
}

/// The chosen one and some of those that it was chosen from.
#[derive(Clone, Debug)]
pub(crate) struct Shortlist(Box<[Seen]>);

impl Shortlist {
    pub(crate) fn new(candidates: &[Candidate], choice: Choice, task: TaskId) -> Self {
        let see = |candidate: &Candidate| Seen {
            rank: rank(choice.policy, task, candidate),
            slot: candidate.slot,
            running: candidate.running,
            slots: candidate.slots,
        };
        let mut seen = Vec::with_capacity(candidates.len().min(OTHERS + 1));
        seen.extend(candidates.get(choice.index).map(see));
        let others = candidates.iter().enumerate().filter(|(index, _)| *index != choice.index);
        seen.extend(others.take(OTHERS).map(|(_, candidate)| see(candidate)));
        Self(seen.into_boxed_slice())
    }

    /// The chosen one first, the others by slot.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.0
    }
}

/// A choice that was made.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) attempt: AttemptNo,
    pub(crate) pool: PoolName,
    pub(crate) policy: Policy,
    pub(crate) at: Timestamp,
    pub(crate) list: Shortlist,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    placed: Lookup<TaskId, Placed>,
    /// Attempts that ended, oldest first.
    ended: VecDeque<(TaskId, AttemptNo)>,
}

impl Memory {
    /// The newest attempt of a task was placed.
    pub(crate) fn remember(&mut self, id: TaskId, placed: Placed) {
        self.placed.insert(id, placed);
    }

    /// An attempt has ended: its placement may be forgotten when there are many newer ones.
    pub(crate) fn let_go(&mut self, id: TaskId, attempt: AttemptNo) {
        if self.ended.len() == REMEMBERED
            && let Some((oldest, attempt)) = self.ended.pop_front()
            && self.placed.get(&oldest).is_some_and(|placed| placed.attempt == attempt)
        {
            self.placed.remove(&oldest);
        }
        self.ended.push_back((id, attempt));
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Placed> {
        self.placed.get(&id)
    }

    /// Whether no more is remembered than may be when so many tasks run.
    pub(crate) fn is_bounded(&self, running: usize) -> bool {
        self.ended.len() <= REMEMBERED && self.placed.len() <= running + self.ended.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Load;

    fn task(n: u64) -> TaskId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        TaskId::from_bytes(bytes)
    }

    fn placed(attempt: u32) -> Placed {
        let candidate =
            Candidate { slot: SlotNo(1), running: 0, slots: 1, load: Load::default(), last_given: 0 };
        let choice = Choice { index: 0, policy: Policy::LeastLoaded, rank: 0 };
        let list = Shortlist::new(&[candidate], choice, task(0));
        let (attempt, at) = (AttemptNo(attempt), Timestamp(0));
        Placed { attempt, pool: "default".into(), policy: Policy::LeastLoaded, at, list }
    }

    #[test]
    fn the_chosen_one_comes_first_and_of_the_others_some() {
        let candidates: Vec<Candidate> = (1..=20)
            .map(|slot| Candidate {
                slot: SlotNo(slot),
                running: 0,
                slots: 4,
                load: Load::default(),
                last_given: u64::from(slot),
            })
            .collect();
        let choice = Choice { index: 15, policy: Policy::RoundRobin, rank: 16 };
        let list = Shortlist::new(&candidates, choice, task(1));
        let slots: Vec<u16> = list.seen().iter().map(|seen| seen.slot.0).collect();
        assert_eq!(slots, [16, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(list.seen()[0].rank, 16);
        let list = Shortlist::new(&candidates[..2], Choice { index: 1, ..choice }, task(1));
        assert_eq!(list.seen().len(), 2);
    }

    #[test]
    fn what_runs_is_remembered_and_of_what_ended_only_so_much() {
        let mut memory = Memory::default();
        memory.remember(task(0), placed(1));
        for n in 1..=REMEMBERED as u64 + 5 {
            memory.remember(task(n), placed(1));
            memory.let_go(task(n), AttemptNo(1));
        }
        assert!(memory.get(task(0)).is_some(), "it still runs");
        assert!(memory.get(task(5)).is_none() && memory.get(task(6)).is_some());
        assert!(memory.is_bounded(1));
    }

    #[test]
    fn a_task_that_runs_again_is_not_forgotten_with_its_former_attempt() {
        let mut memory = Memory::default();
        memory.remember(task(0), placed(1));
        memory.let_go(task(0), AttemptNo(1));
        memory.remember(task(0), placed(2));
        for n in 1..=REMEMBERED as u64 {
            memory.remember(task(n), placed(1));
            memory.let_go(task(n), AttemptNo(1));
        }
        assert_eq!(memory.get(task(0)).map(|placed| placed.attempt), Some(AttemptNo(2)));
    }
}
