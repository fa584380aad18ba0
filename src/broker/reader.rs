//! Who reads the log to deliver it: each fan-out thread is one reader, woken when there is
//! something for its subscribers.

use std::sync::Arc;

use super::entry::Entry;
use super::selection::Selection;

/// A reader's name.
pub type ReaderId = usize;

/// The most readers: each has a bit in a word.
pub const MOST_READERS: usize = 64;

/// What happened since a reader last looked.
#[derive(Debug)]
pub struct News {
    /// What there is for its subscribers; `None` if it is too much to be still at hand, so that each
    /// subscriber must read for itself.
    pub latest: Option<Latest>,
    /// The log's head: all places up to here are accounted for.
    pub head: u64,
    /// Whoever is not beyond this place is too far behind.
    pub brink: u64,
}

/// What there is for a reader's subscribers.
#[derive(Debug, Default)]
pub struct Latest {
    /// The entries, oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// Selections on which somebody gets nothing more: whoever is up to date there has to look again.
    pub ended: Vec<Arc<Selection>>,
}
