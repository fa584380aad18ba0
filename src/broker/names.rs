//! The channels' names: looked up with each publish, and listed in their order.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::channel::Channel;
use crate::slots::Key;

/// Which channel a name means. Both maps hold the same names at any time.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// For look-ups: a search in `sorted` compares a dozen names, each of which lies elsewhere.
    hashed: HashMap<Channel, Key<Channel>>,
    /// The same, for lists.
    sorted: BTreeMap<Channel, Key<Channel>>,
}

impl Names {
    /// The channel of this name, if there is one.
    pub(super) fn get(&self, name: &Channel) -> Option<Key<Channel>> {
        self.hashed.get(name).copied()
    }

    pub(super) fn insert(&mut self, name: Channel, key: Key<Channel>) {
        self.hashed.insert(name.clone(), key);
        self.sorted.insert(name, key);
    }

    pub(super) fn remove(&mut self, name: &Channel) {
        self.hashed.remove(name);
        self.sorted.remove(name);
    }

    /// All channels behind this name, in the order of their names.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&Channel, Key<Channel>)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.sorted.range::<str, _>((from, Bound::Unbounded)).map(|(name, &key)| (name, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    fn listed<'a>(names: &'a Names, after: Option<&str>) -> Vec<&'a str> {
        names.after(after).map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn what_is_looked_up_is_what_is_listed() {
        let (mut names, mut slots) = (Names::default(), Slots::default());
        let [a, b, c] = ["a", "b", "c"].map(|name| Channel::parse(name).unwrap());
        let [key_a, key_b, key_c] = [(); 3].map(|()| slots.insert(()));
        names.insert(c.clone(), key_c);
        names.insert(a.clone(), key_a);
        names.insert(b.clone(), key_b);

        names.remove(&b);

        assert_eq!([&a, &b, &c].map(|name| names.get(name)), [Some(key_a), None, Some(key_c)]);
        assert_eq!(listed(&names, None), ["a", "c"]);
        assert_eq!(listed(&names, Some("a")), ["c"]);
        assert_eq!(listed(&names, Some("b")), ["c"], "a name that is gone keeps its place");
    }
}
