//! The newest places of the whole log, whatever the channels keep.
//!
//! Fan-out reads from here what is new. It is also what keeps a burst that is longer than a
//! channel's history from cutting off subscribers that only needed a moment.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;
use super::selection::Selection;

/// The most places.
const MOST: usize = 8192;
/// The most bytes that they hold; the newest is held whatever its size.
const MOST_BYTES: usize = 16 << 20;
/// About what a selection holds that may have no other owner any more, in bytes.
const SELECTION: usize = 128;

/// What stands at a place of the log.
#[derive(Debug)]
pub(super) enum Happening {
    /// An event.
    Event(Arc<Entry>),
    /// A close or a disconnect: some of those on these selections get nothing that comes after.
    Ending { readers: u64, selections: Vec<Arc<Selection>> },
}

impl Happening {
    fn event(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Event(entry) => Some(entry),
            Self::Ending { .. } => None,
        }
    }

    /// About how many bytes it holds.
    fn size(&self) -> usize {
        match self {
            Self::Event(entry) => entry.encoded.len(),
            Self::Ending { selections, .. } => SELECTION * selections.len(),
        }
    }
}

/// A window at the end of the log.
#[derive(Debug)]
pub(super) struct Recent {
    /// What stands at consecutive places.
    happenings: VecDeque<Happening>,
    bytes: usize,
    /// The most places.
    most: usize,
    /// How many places the newest quarter has, by number or by bytes.
    near: usize,
    near_bytes: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Recent {
    /// A window of at most so many places.
    pub(super) fn of(most: usize) -> Self {
        Self { happenings: VecDeque::new(), bytes: 0, most, near: 0, near_bytes: 0 }
    }

    /// Takes in what stands at the newest place; an event that is too much then is `left` to somebody else.
    pub(super) fn push(&mut self, happening: Happening, mut left: impl FnMut(Arc<Entry>)) {
        self.bytes += happening.size();
        self.near_bytes += happening.size();
        self.near += 1;
        self.happenings.push_back(happening);
        while self.near > 1 && (self.near > self.most / 4 || self.near_bytes > MOST_BYTES / 4) {
            self.near_bytes -= self.happenings[self.happenings.len() - self.near].size();
            self.near -= 1;
        }
        while self.happenings.len() > self.most || (self.bytes > MOST_BYTES && self.happenings.len() > 1) {
            let Some(oldest) = self.happenings.pop_front() else { break };
            self.bytes -= oldest.size();
            if self.near > self.happenings.len() {
                self.near -= 1;
                self.near_bytes -= oldest.size();
            }
            if let Happening::Event(entry) = oldest {
                left(entry);
            }
        }
    }

    /// The place behind which the newest quarter begins.
    pub(super) fn brink(&self, head: u64) -> u64 {
        head - (self.near as u64).min(head)
    }

    /// Lets go of all: entries read back from disk may have gaps between their numbers.
    pub(super) fn clear(&mut self) {
        *self = Self::of(self.most);
    }

    /// What stands after a place; `None` if not all of it is here any more.
    pub(super) fn after(&self, sequence: u64, head: u64) -> Option<impl Iterator<Item = &Happening>> {
        let missing = (head - sequence.min(head)) as usize;
        let from = self.happenings.len().checked_sub(missing)?;
        Some(self.happenings.range(from..))
    }

    /// The events after a place, in the same way.
    pub(super) fn events_after(&self, sequence: u64, head: u64) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        Some(self.after(sequence, head)?.filter_map(Happening::event))
    }
}
