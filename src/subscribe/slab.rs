//! Things by small numbers, which are also the tokens of their sockets.

/// A slab; a number is used again after its thing is gone, with another generation.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].1 = Some(thing);
        slot
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let (generation, thing) = self.slots.get_mut(slot as usize)?;
        let thing = thing.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        Some(thing)
    }

    /// The how-manieth thing has this number now.
    pub(super) fn generation(&self, slot: u32) -> Option<u32> {
        let (generation, thing) = self.slots.get(slot as usize)?;
        thing.as_ref().map(|_| *generation)
    }

    /// The numbers in use.
    pub(super) fn slots(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|&slot| self.slots[slot as usize].1.is_some()).collect()
    }
}
