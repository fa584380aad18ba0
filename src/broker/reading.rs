//! The log, open to one reader: what happened since it last looked, and the reads for its subscribers.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::log::Log;
use super::reader::{Latest, News, ReaderId};
use super::recent::Happening;
use super::subscription::{Gap, Read, Subscription};

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
        let (head, brink) = (self.log.head, self.log.brink());
        self.log.gate.note_looked(self.reader, head);
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
