//! The reads that move a subscription.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Beginning, Gap, Read, Reason, Start, Subscription};
use crate::broker::entry::Entry;
use crate::broker::log::Log;
use crate::broker::moment::Moment;
use crate::broker::record::Record;
use crate::channel::Channel;
use crate::event::Position;
use crate::slots::Key;

impl Log {
    /// Whether no event after this place has left these channels' histories.
    pub(super) fn is_complete_after(&self, place: u64, keys: &[Key<Channel>]) -> bool {
        // What is known no more may have been closed, read to its end by nobody, and forgotten.
        keys.iter().all(|&key| self.channels.trimmed(key) <= place)
    }

    /// Whether the channels' histories hold everything that is still to come for a cursor.
    pub(super) fn is_complete_for(
        &self,
        cursor: u64,
        beginning: Option<&Beginning>,
        keys: &[Key<Channel>],
    ) -> bool {
        let Some(beginning) = beginning else { return self.is_complete_after(cursor, keys) };
        keys.iter().zip(&beginning.channels).all(|(&key, then)| {
            let after = cursor.max(then.floor);
            let is_there = |record: &Record| record.trimmed <= after || record.left.since(then.left) <= after;
            self.channels.get(key).map_or_else(|| self.channels.trimmed(key) <= after, is_there)
        })
    }

    /// Whether the history has moved past a cursor, so that nothing can be read for it any more.
    pub(in crate::broker) fn has_fallen(&self, subscription: &Subscription) -> bool {
        let cursor = subscription.cursor;
        let is_done = subscription.end().is_some_and(|(last, _)| cursor >= last);
        !is_done
            && !self.is_complete_for(
                cursor,
                subscription.beginning.as_deref(),
                &subscription.selection.channels,
            )
            && self.recent.after(cursor, self.head).is_none()
    }

    /// What comes next for a cursor: at most `limit` entries, and none behind its ending.
    pub(in crate::broker) fn read(&self, subscription: &mut Subscription, limit: usize) -> Read {
        let end = subscription.end();
        let keys = &subscription.selection.channels;
        let cursor = subscription.cursor;
        let up_to = end.map_or(self.head, |(last, _)| last);
        if subscription.beginning.as_ref().is_some_and(|beginning| cursor >= beginning.until) {
            subscription.beginning = None;
        }
        let beginning = subscription.beginning.as_deref();

        // Who is to get no more misses nothing.
        let (entries, reached) = if cursor >= up_to || self.is_complete_for(cursor, beginning, keys) {
            let floor = |index: usize| beginning.map_or(0, |beginning| beginning.channels[index].floor);
            self.merge(keys, cursor, floor, up_to, limit)
        } else {
            let Some(recent) = self.recent.events_after(cursor, self.head) else { return Read::Fallen };
            let entries: Vec<_> = recent
                .take_while(|entry| entry.sequence <= up_to)
                .filter(|entry| self.is_wanted(entry, keys, beginning))
                .take(limit)
                .cloned()
                .collect();
            let reached = if entries.len() < limit { up_to } else { entries[limit - 1].sequence };
            (entries, reached)
        };
        let more = reached < up_to;
        let over = end.filter(|_| !more).map(|(_, why)| why);
        Read::Next { entries, cursor: reached.max(cursor), more, over }
    }

    /// Whether a recent entry is for a subscription on these channels, whatever their histories hold.
    pub(super) fn is_wanted(
        &self,
        entry: &Entry,
        keys: &[Key<Channel>],
        beginning: Option<&Beginning>,
    ) -> bool {
        // What a `ttl` had taken out of the middle of a history.
        let was_over = |then: &Beginning| {
            entry.sequence <= then.until && entry.expires.is_some_and(|expires| expires <= then.at)
        };
        if beginning.is_some_and(was_over) {
            return false;
        }
        keys.iter().enumerate().any(|(index, key)| {
            entry.channels.contains(key)
                && beginning.is_none_or(|beginning| beginning.channels[index].floor < entry.sequence)
                && self.channels.get(*key).is_none_or(|record| !record.has_replaced(entry.sequence))
        })
    }

    /// The next entries of several channels in the order of the log, each once, and how far that is.
    /// `floor` says up to which event the channel at an index is not wanted.
    pub(super) fn merge(
        &self,
        keys: &[Key<Channel>],
        cursor: u64,
        floor: impl Fn(usize) -> u64,
        up_to: u64,
        limit: usize,
    ) -> (Vec<Arc<Entry>>, u64) {
        let floor = |index: usize| floor(index).max(cursor);
        let mut sources: SmallVec<[_; 4]> = keys
            .iter()
            .enumerate()
            .filter_map(|(index, &key)| Some(self.channels.get(key)?.after(floor(index)).peekable()))
            .collect();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        while entries.len() < limit {
            let next =
                sources.iter_mut().filter_map(|source| source.peek().map(|entry| entry.sequence)).min();
            let Some(next) = next.filter(|&next| next <= up_to) else {
                return (entries, up_to);
            };
            for source in &mut sources {
                if let Some(entry) = source.next_if(|entry| entry.sequence == next)
                    && entries.last().is_none_or(|last| last.sequence != next)
                {
                    entries.push(Arc::clone(entry));
                }
            }
        }
        let reached = entries.last().map_or(up_to, |entry| entry.sequence);
        (entries, reached)
    }

    /// Moves a subscription that has fallen behind on to what is left; what to tell it.
    pub(in crate::broker) fn skip(&self, subscription: &mut Subscription) -> Gap {
        let keys = &subscription.selection.channels;
        let up_to = subscription.end().map_or(self.head, |(last, _)| last);
        // What was not wanted at first is not wanted now.
        let then = subscription.beginning.iter().flat_map(|beginning| &beginning.channels);
        let start = Start { cursor: subscription.cursor, floors: then.map(|then| then.floor).collect() };
        (subscription.cursor, subscription.beginning) = self.begin(keys, &start, Moment::now(), up_to);
        self.gap(keys, Reason::Slow, None, subscription.cursor, up_to)
    }

    /// What to tell a client that does not get everything from `from` to `up_to`.
    pub(in crate::broker) fn gap(
        &self,
        keys: &[Key<Channel>],
        reason: Reason,
        requested: Option<&str>,
        from: u64,
        up_to: u64,
    ) -> Gap {
        let records = || keys.iter().filter_map(|&key| self.channels.get(key));
        let text = |entry: &Arc<Entry>| self.id(entry).to_string().into();
        let oldest = records().filter_map(|record| record.oldest()).min_by_key(|entry| entry.sequence);
        let newest = records().filter_map(|record| record.newest()).max_by_key(|entry| entry.sequence);
        let (next, _) = self.merge(keys, from, |_| from, up_to, 1);
        let resume = next.first().map_or(up_to, |entry| entry.sequence - 1);
        Gap {
            reason,
            requested: requested.map(Into::into),
            oldest: oldest.map(text),
            newest: newest.map(text),
            resume: Position { epoch: self.epoch.clone(), sequence: resume },
        }
    }
}
