//! Who is on one channel.

use smallvec::SmallVec;

use super::reader::ReaderId;
use super::selection::{Role, Selection};
use crate::slots::{Key, Listed};

/// Who is on a channel, as far as a publish has to know it: how many of which reader's subscribers; and
/// their selections.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    counts: SmallVec<[Count; 2]>,
    selections: Listed<Selection>,
}

/// A reader's subscribers on a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    listeners: u32,
    onlookers: u32,
}

impl Count {
    fn of(&mut self, role: Role) -> &mut u32 {
        match role {
            Role::Listener => &mut self.listeners,
            Role::Onlooker => &mut self.onlookers,
        }
    }
}

impl Attendance {
    /// A bit for each reader with a subscriber here.
    pub(super) fn readers(&self) -> u64 {
        let is_there = |count: &Count| count.listeners + count.onlookers > 0;
        let bit = |(reader, count): (usize, &Count)| u64::from(is_there(count)) << reader;
        self.counts.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
    }

    /// A bit for each reader with a listener here.
    pub(super) fn listening(&self) -> u64 {
        let bit = |(reader, count): (usize, &Count)| u64::from(count.listeners > 0) << reader;
        self.counts.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
    }

    /// How many listen.
    pub(super) fn listeners(&self) -> usize {
        self.counts.iter().map(|count| count.listeners as usize).sum()
    }

    /// Whether nobody is here, not even an onlooker.
    pub(super) fn is_empty(&self) -> bool {
        self.readers() == 0
    }

    /// Counts one more of a reader's subscribers.
    pub(super) fn count_in(&mut self, reader: ReaderId, role: Role) {
        if self.counts.len() <= reader {
            self.counts.resize(reader + 1, Count::default());
        }
        *self.counts[reader].of(role) += 1;
    }

    /// Counts some of a reader's subscribers out.
    pub(super) fn count_out(&mut self, reader: ReaderId, role: Role, some: u32) {
        if let Some(count) = self.counts.get_mut(reader) {
            let count = count.of(role);
            *count = count.saturating_sub(some);
        }
    }

    /// The selections that hold this channel, and some that are gone.
    pub(super) fn selections(&self) -> impl Iterator<Item = Key<Selection>> {
        self.selections.iter()
    }

    /// How many these are at most.
    pub(super) fn selections_at_most(&self) -> usize {
        self.selections.len()
    }

    pub(super) fn add_selection(&mut self, id: Key<Selection>) {
        self.selections.push(id);
    }

    /// Notes that one of the selections is gone; `is_there` tells which are not.
    pub(super) fn note_selection_gone(&mut self, is_there: impl Fn(Key<Selection>) -> bool) {
        self.selections.note_gone(is_there);
    }
}
