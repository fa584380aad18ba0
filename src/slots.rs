//! A place for things that come and go, with keys that never mean a later thing.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use smallvec::SmallVec;

/// Where a thing is kept, and the how-manieth at that place it is. `K` says of what kind, so that none is taken
/// for another's.
pub struct Key<K> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> K>,
}

/// Things by key; both steps of a look-up are an array access. The keys are of the things' own kind, unless
/// another says better what they stand for.
pub struct Slots<T, K = T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    kind: PhantomData<fn() -> K>,
}

impl<T, K> Default for Slots<T, K> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), kind: PhantomData }
    }
}

impl<T: fmt::Debug, K> fmt::Debug for Slots<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.iter().filter_map(|(_, thing)| thing.as_ref())).finish()
    }
}

impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Key<K> {}

impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.generation)
    }
}

impl<K> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
    }
}

impl<K> Eq for Key<K> {}

impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers().hash(state);
    }
}

impl<K> PartialOrd for Key<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Key<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl<K> Key<K> {
    /// The key of nothing.
    pub const NOWHERE: Self = Self::new(u32::MAX, u32::MAX);

    const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation, kind: PhantomData }
    }

    fn numbers(self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// The place alone, which no two things have at a time.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T, K> Slots<T, K> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one in; the key is good until it is removed.
    pub fn insert(&mut self, thing: T) -> Key<K> {
        self.insert_with(|_| thing)
    }

    /// Takes one in that knows its key.
    pub fn insert_with(&mut self, thing: impl FnOnce(Key<K>) -> T) -> Key<K> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let key = Key::new(index, slot.0);
        slot.1 = Some(thing(key));
        key
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key<K>) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.generation)?;
        let thing = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(key.index);
        Some(thing)
    }

    /// The thing that the key was given for.
    pub fn get(&self, key: Key<K>) -> Option<&T> {
        self.slots.get(key.index as usize).filter(|slot| slot.0 == key.generation)?.1.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: Key<K>) -> Option<&mut T> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.generation)?.1.as_mut()
    }

    /// The keys at up to `count` places from place `from` on, and the place to go on at; 0 after
    /// the last.
    pub fn walk(&self, from: usize, count: usize) -> (Vec<Key<K>>, usize) {
        let end = from.saturating_add(count).min(self.slots.len());
        let keys = (from..end).filter_map(|index| self.key_at(index)).collect();
        (keys, if end == self.slots.len() { 0 } else { end })
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Key<K>> {
        self.walk(0, usize::MAX).0
    }

    /// The key of what is at this place now.
    pub fn key_at(&self, index: usize) -> Option<Key<K>> {
        let (generation, thing) = self.slots.get(index)?;
        thing.as_ref().map(|_| Key::new(index as u32, *generation))
    }
}

/// Keys of things that come and go elsewhere, in a list that does not look for each that goes: they are
/// swept out together once they are half of it, so that a thousand that go cost some thousand steps.
#[derive(Debug)]
pub struct Listed<K> {
    keys: SmallVec<[Key<K>; 1]>,
    gone: u32,
}

impl<K> Default for Listed<K> {
    fn default() -> Self {
        Self { keys: SmallVec::new(), gone: 0 }
    }
}

impl<K> Listed<K> {
    /// Adds one.
    pub fn push(&mut self, key: Key<K>) {
        self.keys.push(key);
    }

    /// All of them; some may be of things that are gone.
    pub fn iter(&self) -> impl Iterator<Item = Key<K>> {
        self.keys.iter().copied()
    }

    /// How many there are, with those that are gone.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Notes that one of the things is gone; `is_there` tells which are not.
    pub fn note_gone(&mut self, is_there: impl Fn(Key<K>) -> bool) {
        self.gone += 1;
        if self.gone as usize * 2 >= self.keys.len() {
            self.gone = 0;
            self.keys.retain(|key| is_there(*key));
            self.keys.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_means_a_later_thing() {
        let mut slots: Slots<&str> = Slots::default();
        let first = slots.insert("a");

        slots.remove(first);
        let second = slots.insert("b");

        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"b"));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_list_holds_what_is_there_and_never_more_of_what_is_gone() {
        let (mut slots, mut listed): (Slots<i32>, Listed<i32>) = Default::default();
        let keys: Vec<_> = (0..100).map(|number| slots.insert(number)).collect();
        keys.iter().for_each(|&key| listed.push(key));

        for (left, &key) in (0..100).rev().zip(&keys) {
            slots.remove(key);
            listed.note_gone(|key| slots.get(key).is_some());

            let there = listed.iter().filter(|&key| slots.get(key).is_some()).count();
            assert_eq!(there, left);
            assert!(listed.len() <= 2 * left, "{} for {left}", listed.len());
        }
    }
}
