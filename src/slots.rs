//! A place for things that come and go, with keys that never mean a later thing.

use smallvec::SmallVec;

/// Where a thing is kept, and the how-manieth at that place it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Things by key; both steps of a look-up are an array access.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl Key {
    /// The key of nothing.
    pub const NOWHERE: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// The place alone, which no two things have at a time.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Slots<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one in; the key is good until it is removed.
    pub fn insert(&mut self, thing: T) -> Key {
        self.insert_with(|_| thing)
    }

    /// Takes one in that knows its key.
    pub fn insert_with(&mut self, thing: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let key = Key { index, generation: slot.0 };
        slot.1 = Some(thing(key));
        key
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.generation)?;
        let thing = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(key.index);
        Some(thing)
    }

    /// The thing that the key was given for.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index as usize).filter(|slot| slot.0 == key.generation)?.1.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.generation)?.1.as_mut()
    }

    /// The keys at up to `count` places from place `from` on, and the place to go on at; 0 after
    /// the last.
    pub fn walk(&self, from: usize, count: usize) -> (Vec<Key>, usize) {
        let end = from.saturating_add(count).min(self.slots.len());
        let keys = (from..end).filter_map(|index| self.key_at(index)).collect();
        (keys, if end == self.slots.len() { 0 } else { end })
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Key> {
        self.walk(0, usize::MAX).0
    }

    /// The key of what is at this place now.
    pub fn key_at(&self, index: usize) -> Option<Key> {
        let (generation, thing) = self.slots.get(index)?;
        thing.as_ref().map(|_| Key { index: index as u32, generation: *generation })
    }
}

/// Keys of things that come and go elsewhere, in a list that does not look for each that goes: they are
/// swept out together once they are half of it, so that a thousand that go cost some thousand steps.
#[derive(Debug, Default)]
pub struct Listed {
    keys: SmallVec<[Key; 1]>,
    gone: u32,
}

impl Listed {
    /// Adds one.
    pub fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// All of them; some may be of things that are gone.
    pub fn iter(&self) -> impl Iterator<Item = Key> {
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
    pub fn note_gone(&mut self, is_there: impl Fn(Key) -> bool) {
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
        let mut slots = Slots::default();
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
        let (mut slots, mut listed) = (Slots::default(), Listed::default());
        let keys: Vec<Key> = (0..100).map(|number| slots.insert(number)).collect();
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
