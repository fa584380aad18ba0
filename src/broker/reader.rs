//! Who reads the log to deliver it: each fan-out thread is one reader, woken when there is
//! something for its subscribers.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::entry::Entry;
use super::log::Log;
use super::recent::Happening;
use super::selection::Selection;
use super::subscription::{Gap, Read, Subscription};

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
        self.log.note_looked(self.reader);
        let (head, brink) = (self.log.head, self.log.brink());
        let bit = 1 << self.reader;
        let Some(recent) = self.log.recent.after(seen, head) else {
            return News { latest: None, head, brink };
        };
        let mut latest = Latest::default();
        for happening in recent {
            match happening {
                Happening::Event(entry) if entry.readers & bit != 0 => latest.entries.push(Arc::clone(entry)),
                Happening::Ending { readers, selections } if readers & bit != 0 => {
                    latest.ended.extend_from_slice(selections);
                }
                _ => {}
            }
        }
        News { latest: Some(latest), head, brink }
    }

    /// What comes next for a subscription, without moving it: at most `limit` entries.
    pub fn read(&mut self, subscription: &mut Subscription, limit: usize) -> Read {
        self.log.read(subscription, limit)
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
