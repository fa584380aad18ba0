//! The place at which a client was taken over, and what stands for it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Subscription;
use crate::broker::log::Log;
use crate::broker::shared_log::SharedLog;
use crate::channel::Channel;
use crate::event::{MAX_ID, Position};
use crate::slots::Key;

/// Where a client was taken over.
#[derive(Clone, Debug)]
pub struct Anchor {
    log: Arc<SharedLog>,
    channels: SmallVec<[Key<Channel>; 1]>,
    place: u64,
}

impl Anchor {
    /// The id of the place: everything after it is still to come.
    pub fn id(&self) -> Position {
        Position { epoch: self.log.lock().epoch.clone(), sequence: self.place }
    }

    /// From now on these ids stand for the place, too. One that is longer than an event's own can be is not
    /// remembered.
    pub fn stands_for<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let mut ids = ids.into_iter().filter(|id| id.len() <= MAX_ID).peekable();
        if ids.peek().is_none() {
            return;
        }
        let mut log = self.log.lock();
        for id in ids {
            self.channels.iter().for_each(|&key| log.taken_over.note(id, key, self.place));
        }
    }
}

impl Subscription {
    /// The place at which it is now.
    pub fn anchor(&self) -> Anchor {
        let (log, channels) = (Arc::clone(&self.log), self.selection.channels.clone());
        Anchor { log, channels, place: self.cursor }
    }
}

impl Log {
    /// The place that a site's own id stands for on these channels.
    pub(super) fn taken_over_at(&self, id: &str, keys: &[Key<Channel>]) -> Option<u64> {
        let trimmed = |key| self.channels.get(key).map(|record| record.trimmed);
        keys.iter().filter_map(|&key| self.taken_over.place_of(id, key, trimmed(key)?)).min()
    }
}
