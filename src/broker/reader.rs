//! Who reads the log to deliver it: each fan-out thread is one reader, woken when there is
//! something for its subscribers.

use std::sync::Arc;

use super::entry::Entry;
use crate::slots::Key;

/// A reader's name.
pub type ReaderId = usize;

/// The most readers: each has a bit in a word.
pub const MOST_READERS: usize = 64;

/// What waits for a reader besides entries.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Channels with subscribers of its own that were closed, and the log's head then.
    pub(super) closed: Vec<(Key, u64)>,
    /// Whether some subject was disconnected.
    pub(super) disconnected: bool,
}

/// What happened since a reader last looked.
#[derive(Debug)]
pub struct News {
    /// The entries for its subscribers, oldest first; `None` if they are too many to be still at
    /// hand, so that each subscriber must read for itself.
    pub entries: Option<Vec<Arc<Entry>>>,
    /// The log's head: all entries up to here are accounted for.
    pub head: u64,
    /// Channels that were closed, and the head then.
    pub closed: Vec<(Key, u64)>,
    /// Whether some subscribers' subject was disconnected.
    pub disconnected: bool,
}
