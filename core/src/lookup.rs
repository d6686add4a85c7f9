//! A hash map that can only be asked, never walked: the order of a hash map must not decide anything.

#![allow(clippy::disallowed_types)]

use std::collections::HashMap;
use std::hash::Hash;

use rustc_hash::FxBuildHasher;

/// Values by key, without an order.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<K, V>(HashMap<K, V, FxBuildHasher>);

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
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
        self.0.remove(key)
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
