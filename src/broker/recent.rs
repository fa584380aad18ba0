//! The newest entries of the whole log, whatever their channels keep.
//!
//! Fan-out reads from here what is new. It is also what keeps a burst that is longer than a
//! channel's history from cutting off subscribers that only needed a moment.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;

/// The most entries.
const MOST: usize = 8192;
/// The most bytes of them; the newest entry is held whatever its size.
const MOST_BYTES: usize = 16 << 20;

/// A window at the end of the log.
#[derive(Debug)]
pub(super) struct Recent {
    /// Entries with consecutive numbers.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The most entries.
    most: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Recent {
    /// A window of at most so many entries.
    pub(super) fn of(most: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most }
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.encoded.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.most || (self.bytes > MOST_BYTES && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.encoded.len();
        }
    }

    /// Lets go of all: entries read back from disk may have gaps between their numbers.
    pub(super) fn clear(&mut self) {
        *self = Self::of(self.most);
    }

    /// The entries after a place; `None` if not all of them are here any more.
    pub(super) fn after(&self, sequence: u64, head: u64) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let missing = (head - sequence.min(head)) as usize;
        let from = self.entries.len().checked_sub(missing)?;
        Some(self.entries.range(from..))
    }
}
