//! A map of which a changed version costs little: what did not change is shared with the version before.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use cygnet_spd::hash::Seed;

/// Shards. A change copies this many pointers and one shard, so that at 100,000 entries both are a few hundred.
const SHARDS: usize = 512;

type Shard<K, V> = HashMap<K, V, Seed>;

/// A hash map in shards. `clone` is one reference count; changing a clone leaves the original as it was.
pub(crate) struct Sharded<K, V> {
    shards: Arc<[Arc<Shard<K, V>>]>,
    seed: Seed,
    len: usize,
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), seed: self.seed, len: self.len }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn new(seed: Seed) -> Self {
        let empty = Arc::new(HashMap::with_hasher(seed));
        Self { shards: vec![empty; SHARDS].into(), seed, len: 0 }
    }

    /// Bits that the map within the shard uses neither as slot (low) nor as tag (high).
    #[inline]
    fn shard_of(&self, key: &K) -> usize {
        (self.seed.hash_one(key) >> 40) as usize % SHARDS
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.shard_of(key)].get(key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// Changes the value of `key` in place: `None` before, absent; `None` after, removed.
    pub(crate) fn alter(&mut self, key: K, change: impl FnOnce(&mut Option<V>)) {
        let place = self.shard_of(&key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place]);
        let mut value = shard.remove(&key);
        self.len -= usize::from(value.is_some());
        change(&mut value);
        if let Some(value) = value {
            shard.insert(key, value);
            self.len += 1;
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.alter(key, |slot| *slot = Some(value));
    }

    pub(crate) fn remove(&mut self, key: K) {
        self.alter(key, |slot| *slot = None);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // The oracle is an ordinary map, and a copy of it for every version that is still held.
        #[test]
        fn versions_are_independent(steps in prop::collection::vec((0u32..64, any::<Option<u8>>()), 0..64)) {
            let mut map = Sharded::new(Seed::random());
            let mut oracle = HashMap::new();
            let mut versions = Vec::new();
            for (key, value) in steps {
                versions.push((map.clone(), oracle.clone()));
                match value {
                    Some(value) => {
                        map.insert(key, value);
                        oracle.insert(key, value);
                    }
                    None => {
                        map.remove(key);
                        oracle.remove(&key);
                    }
                }
            }
            versions.push((map, oracle));
            for (map, oracle) in versions {
                prop_assert_eq!(map.len(), oracle.len());
                prop_assert_eq!(map.values().count(), oracle.len());
                for key in 0..64 {
                    prop_assert_eq!(map.get(&key), oracle.get(&key));
                }
            }
        }
    }
}
