//! Who reads the log to deliver it: each fan-out thread is one reader, woken when there is
//! something for its subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::entry::Entry;
use super::slots::Key;

/// A reader's name.
pub type ReaderId = usize;

/// The most readers: each has a bit in a word.
pub const MOST_READERS: usize = 64;

/// Something a sleeping reader can be woken with.
pub trait Wake: Send + Sync {
    /// Wakes it; must not block.
    fn wake(&self);
}

/// A reader's bell. Ringing costs a system call only if it has not been rung since the reader last
/// looked.
pub(super) struct Bell {
    rung: AtomicBool,
    wake: Arc<dyn Wake>,
}

impl Bell {
    pub(super) fn new(wake: Arc<dyn Wake>) -> Self {
        Self { rung: AtomicBool::new(false), wake }
    }

    /// Called after the log was changed.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// Called before the log is read: a change after this rings again.
    pub(super) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

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
