//! The channels' names: looked up with each publish, and listed in their order.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::channel::Channel;
use crate::slots::Key;

/// Which channel a name means.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// For look-ups: a search in `sorted` compares a dozen names, each of which lies elsewhere.
    hashed: HashMap<Channel, Key>,
    /// The same, for lists.
    sorted: BTreeMap<Channel, Key>,
}

impl Names {
    pub(super) fn get(&self, name: &Channel) -> Option<Key> {
        self.hashed.get(name).copied()
    }

    pub(super) fn insert(&mut self, name: Channel, key: Key) {
        self.hashed.insert(name.clone(), key);
        self.sorted.insert(name, key);
    }

    pub(super) fn remove(&mut self, name: &Channel) {
        self.hashed.remove(name);
        self.sorted.remove(name);
    }

    /// All channels behind this name, in the order of their names.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&Channel, Key)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.sorted.range::<str, _>((from, Bound::Unbounded)).map(|(name, &key)| (name, key))
    }
}
