//! A hash map that can only be asked, never walked: the order of a hash map must not decide anything.
//!
//! The entries stand one behind the other beside a table of their places, so that the empty half of the table
//! costs a million of them little, and what was taken for many is given back when few are left.

use std::hash::Hash;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

/// Below this capacity nothing is given back.
const SMALL: usize = 1_024;

/// Values by key, without an order.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<K, V>(IndexMap<K, V, FxBuildHasher>);

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(IndexMap::default())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.0.swap_remove(key)?;
        if self.0.capacity() > SMALL && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `holds` is true of every value: the one question about all of them whose answer does
    /// not depend on their order.
    pub(crate) fn all(&self, mut holds: impl FnMut(&K, &V) -> bool) -> bool {
        self.0.iter().all(|(key, value)| holds(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_for_many_is_given_back_when_few_are_left() {
        let mut lookup = Lookup::default();
        (0..100_000).for_each(|key| lookup.insert(key, key));
        assert!((0..99_990).all(|key| lookup.remove(&key) == Some(key)));
        assert!(lookup.0.capacity() <= SMALL, "room for {}", lookup.0.capacity());
        assert!((99_990..100_000).all(|key| lookup.get(&key) == Some(&key)));
    }
}
