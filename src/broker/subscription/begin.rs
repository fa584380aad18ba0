//! Where a subscription begins, and where it is counted.

use smallvec::SmallVec;

use super::{Beginning, ChannelThen, Gap, Reason, Since, Start, Subscription};
use crate::broker::log::Log;
use crate::broker::moment::Moment;
use crate::broker::settings::Keep;
use crate::channel::Channel;
use crate::event::Position;
use crate::replay::Replay;
use crate::slots::Key;

impl Log {
    /// The place of an id: everything after it is wanted. Else why it has none.
    pub(in crate::broker) fn place(&self, id: &str, keys: &[Key<Channel>]) -> Result<u64, Reason> {
        let position = Position::parse(id);
        if let Some(position) = &position
            && position.epoch == self.epoch
            && position.sequence <= self.head
        {
            return Ok(position.sequence);
        }
        // A publisher may number its events anew with each run: from the oldest on, nothing is lost.
        let places = keys.iter().filter_map(|&key| self.channels.get(key)?.place_of(id));
        let place = places.min().or_else(|| self.taken_over_at(id, keys));
        place.ok_or(match position {
            Some(position) if position.epoch != self.epoch => Reason::Epoch,
            _ => Reason::Unknown,
        })
    }

    pub(super) fn start(&self, keys: &[Key<Channel>], since: Since<'_>) -> (Start, Option<Gap>) {
        let Some(id) = since.last_event_id else { return (self.replay(keys, since.replay), None) };
        match self.place(id, keys) {
            Ok(place) if self.is_complete_after(place, keys) => (Start::at(place), None),
            Ok(place) => {
                (Start::at(place), Some(self.gap(keys, Reason::Trimmed, Some(id), place, self.head)))
            }
            Err(reason) => (Start::at(0), Some(self.gap(keys, reason, Some(id), 0, self.head))),
        }
    }

    pub(super) fn replay(&self, keys: &[Key<Channel>], replay: Replay) -> Start {
        match replay {
            Replay::Live => Start::at(self.head),
            Replay::All => Start::at(0),
            Replay::Newest(0) => Start::at(self.head),
            Replay::Newest(count) => {
                let newest = self.newest(keys, count);
                Start::at(newest.map_or(self.head, |sequence| sequence - 1))
            }
            Replay::Unseen => {
                let seen = |&key| match self.channels.get(key) {
                    // Of a channel that holds a state and no story, everyone wants to know that.
                    Some(record) if record.terms.keep == Keep::Latest => 0,
                    Some(record) => record.seen,
                    None => self.head,
                };
                let floors: SmallVec<[u64; 4]> = keys.iter().map(seen).collect();
                let cursor = floors.iter().copied().min().unwrap_or(self.head);
                let apart = floors.iter().any(|&floor| floor != cursor);
                Start { cursor, floors: if apart { floors } else { SmallVec::new() } }
            }
        }
    }

    /// The number of the `count`th newest event on these channels, or of the oldest.
    pub(super) fn newest(&self, keys: &[Key<Channel>], count: usize) -> Option<u64> {
        let records = keys.iter().filter_map(|&key| self.channels.get(key));
        let mut newest: Vec<u64> = records
            .flat_map(|record| record.after(0).rev().take(count).map(|entry| entry.sequence))
            .collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.dedup();
        newest.truncate(count);
        newest.last().copied()
    }

    /// Where a subscription begins that gets nothing after `up_to`: right before what comes first; and what
    /// has to be remembered of it.
    pub(super) fn begin(
        &self,
        keys: &[Key<Channel>],
        start: &Start,
        now: Moment,
        up_to: u64,
    ) -> (u64, Option<Box<Beginning>>) {
        let first = self.merge(keys, start.cursor, |index| start.floor(index), up_to, 1).0;
        let cursor = first.first().map_or(up_to, |entry| entry.sequence - 1).max(start.cursor);
        if start.floors.is_empty() && self.is_complete_after(cursor, keys) {
            return (cursor, None);
        }
        let then = |(index, &key): (usize, &Key<Channel>)| {
            let Some(record) = self.channels.get(key) else { return ChannelThen { floor: 0, left: 0 } };
            let gone = record.oldest().map_or(self.head, |entry| entry.sequence - 1);
            ChannelThen { floor: start.floor(index).max(gone), left: record.left.count() }
        };
        let channels = keys.iter().enumerate().map(then).collect();
        (cursor, Some(Box::new(Beginning { until: self.head, at: now, channels })))
    }

    pub(super) fn is_over(&self, keys: &[Key<Channel>], start: &Start) -> bool {
        let mut records = keys.iter().filter_map(|&key| self.channels.get(key));
        let waiting = || self.merge(keys, start.cursor, |index| start.floor(index), u64::MAX, 1).0;
        records.all(|record| record.closed) && waiting().is_empty()
    }

    /// What a client is handed now is unseen no more.
    pub(super) fn mark_seen(&mut self, keys: &[Key<Channel>], start: &Start) {
        let head = self.head;
        for (index, &key) in keys.iter().enumerate() {
            let from = start.floor(index);
            let Some(record) = self.channels.get_mut(key) else { continue };
            // Who begins later than what is unseen leaves it unseen.
            if from <= record.seen && record.seen < head {
                record.seen = head;
                if let Some(changes) = self.retention.changes_mut() {
                    changes.note_dirty(key);
                }
            }
        }
    }

    /// Counts a subscriber out that has left.
    pub(super) fn leave(&mut self, subscription: &Subscription) {
        let Subscription { selection, party, reader, .. } = subscription;
        self.audience.leave(&mut self.channels, selection, party.as_deref(), *reader);
        for &key in &selection.channels {
            self.note_idle(key);
        }
    }
}
