//! Who reads the log to deliver it: each fan-out thread is one reader, woken when there is
//! something for its subscribers.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::entry::Entry;
use super::log::Log;
use super::subscription::{Gap, Read, Subscription};
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

/// The log, open to one reader. Publishes wait until it is dropped.
pub struct Reading<'a> {
    log: MutexGuard<'a, Log>,
    reader: ReaderId,
}

impl<'a> Reading<'a> {
    pub(super) fn new(log: MutexGuard<'a, Log>, reader: ReaderId) -> Self {
        Self { log, reader }
    }

    /// What happened after `seen`.
    pub fn news(&mut self, seen: u64) -> News {
        let head = self.log.head;
        let bit = 1 << self.reader;
        let inbox = std::mem::take(&mut self.log.readers[self.reader]);
        let recent = self.log.recent.after(seen, head);
        let entries = recent.map(|recent| recent.filter(|entry| entry.readers & bit != 0).cloned().collect());
        News { entries, head, closed: inbox.closed, disconnected: inbox.disconnected }
    }

    /// What comes next for a subscription, without moving it: at most `limit` entries, none after
    /// `up_to`.
    pub fn read(&mut self, subscription: &mut Subscription, up_to: u64, limit: usize) -> Read {
        self.log.read(subscription, up_to, limit)
    }

    /// Whether the history has moved past a subscription.
    pub fn has_fallen(&self, subscription: &Subscription) -> bool {
        self.log.has_fallen(subscription)
    }

    /// Moves a subscription that the history has moved past on to what is left; what to tell it.
    pub fn skip(&mut self, subscription: &mut Subscription) -> Gap {
        self.log.skip(subscription)
    }
}
