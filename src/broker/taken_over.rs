//! Ids that a site gave in the text with which it handed a client over: they are no event's, and each stands for the
//! place at which its client was taken over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::channel::Channel;
use crate::slots::Key;

/// About how many bytes all of these ids may take.
const ROOM: usize = 16 << 20;
/// About how many bytes one takes beside its text.
const EACH: usize = 160;

type Name = (Key<Channel>, Arc<str>);

/// The ids, for each channel on which clients with them were taken over. The oldest are forgotten when there are too
/// many.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    /// Where, oldest first.
    places: HashMap<Name, SmallVec<[u64; 1]>>,
    /// In the order in which they came.
    order: VecDeque<Name>,
    bytes: usize,
}

impl TakenOver {
    /// From now on the id stands for this place, too.
    pub(super) fn note(&mut self, id: &str, key: Key<Channel>, place: u64) {
        let name: Name = (key, id.into());
        let places = self.places.entry(name.clone()).or_default();
        if let Err(index) = places.binary_search(&place) {
            places.insert(index, place);
            self.bytes += bytes_of(id);
            self.order.push_back(name);
        }
        while self.bytes > ROOM
            && let Some(name) = self.order.pop_front()
        {
            self.bytes -= bytes_of(&name.1);
            if let Some(places) = self.places.get_mut(&name) {
                places.remove(0);
                if places.is_empty() {
                    self.places.remove(&name);
                }
            }
        }
    }

    /// The oldest place of an id from which on nothing has left the channel's history; if there is none, the
    /// newest of all. `trimmed` is the newest event that has left.
    pub(super) fn place_of(&self, id: &str, key: Key<Channel>, trimmed: u64) -> Option<u64> {
        if self.places.is_empty() {
            return None;
        }
        let places = self.places.get(&(key, Arc::from(id)))?;
        places.iter().find(|&&place| place >= trimmed).or(places.last()).copied()
    }
}

fn bytes_of(id: &str) -> usize {
    EACH + id.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    #[test]
    fn an_id_stands_for_its_oldest_place_that_is_left_and_the_oldest_ids_are_forgotten() {
        let mut slots = Slots::<(), Channel>::default();
        let (a, b) = (slots.insert(()), slots.insert(()));
        let mut taken = TakenOver::default();

        taken.note("1", a, 5);
        taken.note("1", a, 9);
        taken.note("1", a, 9);

        assert_eq!(taken.place_of("1", a, 0), Some(5));
        assert_eq!(taken.place_of("1", a, 6), Some(9));
        assert_eq!(taken.place_of("1", a, 20), Some(9));
        assert_eq!(taken.place_of("1", b, 0), None);
        for n in 0..ROOM / EACH {
            taken.note(&format!("id-{n}"), b, 5);
        }
        assert_eq!(taken.place_of("1", a, 0), None);
        assert!(taken.bytes <= ROOM && taken.order.len() == taken.places.len());
    }
}
