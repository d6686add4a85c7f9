//! A sorted set that also knows how many of its members come before one.
//!
//! The members are kept in sorted blocks of bounded size, as the lists of Python's `sortedcontainers` are: a member
//! is found by two binary searches, and its rank is the sum of the lengths of the blocks before its own. With a
//! million members that is some two thousand additions, and a full block has no overhead per member.

use std::collections::VecDeque;

/// The most members of a block.
const BLOCK: usize = 512;
/// Blocks with fewer members than this are joined with a neighbour.
const SPARSE: usize = BLOCK / 4;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Ranked<T> {
    /// Sorted, within and one after the other. None is empty.
    blocks: Vec<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }
}

impl<T: Ord + Copy> Ranked<T> {
    /// Adds a member; `false` when it is one already.
    pub(super) fn insert(&mut self, member: T) -> bool {
        let at = self.block_of(&member);
        let Some(block) = self.blocks.get_mut(at) else {
            self.append(member);
            return true;
        };
        let Err(place) = block.binary_search(&member) else { return false };
        block.insert(place, member);
        self.len += 1;
        if block.len() > BLOCK {
            let upper = block.split_off(BLOCK / 2);
            self.blocks.insert(at + 1, upper);
        }
        true
    }

    /// Adds a member that comes after all others. A full last block is left full: most members come in order.
    fn append(&mut self, member: T) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push_back(member),
            _ => self.blocks.push(VecDeque::from([member])),
        }
        self.len += 1;
    }

    /// Takes a member out; `false` when it is none.
    pub(super) fn remove(&mut self, member: &T) -> bool {
        let at = self.block_of(member);
        let Some(block) = self.blocks.get_mut(at) else { return false };
        let Ok(place) = block.binary_search(member) else { return false };
        block.remove(place);
        self.len -= 1;
        if block.len() < SPARSE {
            self.join(at);
        }
        true
    }

    /// Takes the first member out.
    pub(super) fn pop_first(&mut self) -> Option<T> {
        let first = self.blocks.first_mut()?.pop_front()?;
        self.len -= 1;
        if self.blocks[0].is_empty() {
            self.blocks.remove(0);
        }
        Some(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains(&self, member: &T) -> bool {
        self.blocks.get(self.block_of(member)).is_some_and(|block| block.binary_search(member).is_ok())
    }

    /// How many members come before this one, which need not be one.
    pub(super) fn rank(&self, member: &T) -> usize {
        let at = self.block_of(member);
        let before: usize = self.blocks[..at].iter().map(VecDeque::len).sum();
        let within = |block: &VecDeque<T>| block.binary_search(member).unwrap_or_else(|place| place);
        before + self.blocks.get(at).map_or(0, within)
    }

    /// The only block that may hold `member`; behind the last one when all members come before it.
    fn block_of(&self, member: &T) -> usize {
        self.blocks.partition_point(|block| block.back().is_some_and(|last| last < member))
    }

    /// Puts a sparse block and a neighbour together where they leave room for more.
    fn join(&mut self, at: usize) {
        if self.blocks[at].is_empty() {
            self.blocks.remove(at);
            return;
        }
        let fits = |a: usize, b: usize| match (self.blocks.get(a), self.blocks.get(b)) {
            (Some(a), Some(b)) => a.len() + b.len() <= BLOCK - SPARSE,
            _ => false,
        };
        let lower = if fits(at, at + 1) {
            at
        } else if at > 0 && fits(at - 1, at) {
            at - 1
        } else {
            return;
        };
        let mut upper = self.blocks.remove(lower + 1);
        self.blocks[lower].append(&mut upper);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u16),
        Remove(u16),
        PopFirst,
        /// A run of members in order, as submissions come.
        Append(u16),
        /// Every third member of a stretch is taken out, as cancellations go.
        Thin(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u16>().prop_map(Step::Insert),
            any::<u16>().prop_map(Step::Remove),
            Just(Step::PopFirst),
            any::<u16>().prop_map(Step::Append),
            any::<u16>().prop_map(Step::Thin),
        ]
    }

    fn apply(step: Step, ranked: &mut Ranked<u16>, model: &mut BTreeSet<u16>) {
        match step {
            Step::Insert(member) => assert_eq!(ranked.insert(member), model.insert(member)),
            Step::Remove(member) => assert_eq!(ranked.remove(&member), model.remove(&member)),
            Step::PopFirst => assert_eq!(ranked.pop_first(), model.pop_first()),
            Step::Append(from) => {
                for member in (from..u16::MAX).take(700) {
                    assert_eq!(ranked.insert(member), model.insert(member));
                }
            }
            Step::Thin(from) => {
                for member in (from..u16::MAX).step_by(3).take(700) {
                    assert_eq!(ranked.remove(&member), model.remove(&member));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_sorted_set_holds_and_ranks_are_places_in_it(
            steps in proptest::collection::vec(step(), 1..60),
            asked in proptest::collection::vec(any::<u16>(), 20),
        ) {
            let (mut ranked, mut model) = (Ranked::default(), BTreeSet::new());
            for step in steps {
                apply(step, &mut ranked, &mut model);
                prop_assert!(ranked.blocks.iter().all(|block| (1..=BLOCK).contains(&block.len())));
                prop_assert_eq!(ranked.is_empty(), model.is_empty());
            }
            prop_assert!(ranked.blocks.iter().flatten().eq(model.iter()));
            for member in asked {
                prop_assert_eq!(ranked.rank(&member), model.range(..member).count());
                prop_assert_eq!(ranked.contains(&member), model.contains(&member));
            }
        }
    }

    #[test]
    fn members_that_come_in_order_fill_their_blocks() {
        let mut ranked = Ranked::default();
        assert!((0..100_000).all(|member| ranked.insert(member)));
        assert_eq!(ranked.blocks.len(), 100_000_usize.div_ceil(BLOCK));
    }

    #[test]
    fn few_that_are_left_of_many_are_in_few_blocks() {
        let mut ranked = Ranked::default();
        assert!((0..100_000).all(|member| ranked.insert(member)));
        assert!((0..100_000).filter(|member| member % 500 != 0).all(|member| ranked.remove(&member)));
        assert!(ranked.blocks.len() <= 4, "{} blocks for 200 members", ranked.blocks.len());
    }
}
