//! A subscription: a cursor in the log, and the reads that move it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Broker;
use super::away::Waiting;
use super::entry::Entry;
use super::history::Record;
use super::log::Log;
use super::moment::Moment;
use super::party::{CountedAt, Party};
use super::publication::Refused;
use super::reader::ReaderId;
use super::selection::Selection;
use super::settings::Keep;
use super::slots::Key;
use crate::channel::Channel;
use crate::event::Position;
use crate::replay::Replay;
use crate::subject::Subject;

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    /// The last id it has seen, ours or a publisher's.
    pub last_event_id: Option<&'a str>,
    /// What it gets if it does not say.
    pub replay: Replay,
}

/// What a subscription begins with.
#[derive(Debug)]
pub enum Subscribed {
    /// All channels are closed, and the client has seen all there is.
    Over,
    /// It goes on from here.
    Open(Subscription, Option<Gap>),
}

/// A place in the log for each of the channels a client is on; counted until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    broker: Arc<Broker>,
    /// The channels.
    pub selection: Arc<Selection>,
    /// Who delivers it.
    reader: ReaderId,
    /// How often its only channel had been closed when it began.
    closes: u32,
    /// The others that were accepted for the same subject.
    party: Option<Arc<Party>>,
    /// Events up to here are not wanted any more.
    pub cursor: u64,
    /// How it began, until the cursor has passed where the log's head was then.
    beginning: Option<Box<Beginning>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.broker.lock().leave(self);
    }
}

impl Subscription {
    /// The log's head when the subject it was accepted for was disconnected, if it has been: what was
    /// published after that is not for this one any more.
    pub fn disconnected_at(&self) -> Option<u64> {
        self.party.as_ref()?.ended_at()
    }

    pub(super) fn counted_at(&self) -> CountedAt<'_> {
        CountedAt { selection: &self.selection, reader: self.reader, closes: self.closes }
    }
}

/// What was different for a subscription until it had caught up.
#[derive(Debug)]
struct Beginning {
    /// The log's head then.
    until: u64,
    /// The time then.
    at: Moment,
    /// For each channel, how it was then.
    channels: SmallVec<[ChannelThen; 2]>,
}

/// A channel as it was when a subscription began. What was missing from its history already is no fault
/// of the subscriber, and it was told if it had reason to expect it.
#[derive(Debug)]
struct ChannelThen {
    /// The event up to which it is not wanted, or gone.
    floor: u64,
    /// How many events had left its history.
    left: u64,
}

/// Why a client cannot be given everything after its id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Some of it has left the history.
    Trimmed,
    /// The id is of another log: outboard was restarted.
    Epoch,
    /// Nobody knows the id.
    Unknown,
    /// The client was too slow and the history has moved past it.
    Slow,
}

impl Reason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Epoch => "epoch",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
        }
    }
}

/// What a client is told that has a gap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// Why.
    pub reason: Reason,
    /// The id it came with, if it did.
    pub requested: Option<Box<str>>,
    /// The id of the oldest event it can still get.
    pub oldest: Option<Box<str>>,
    /// The id of the newest.
    pub newest: Option<Box<str>>,
    /// The place right before what it gets next: a client that is cut off now resumes there.
    pub resume: Position,
}

/// What a read brings.
#[derive(Debug)]
pub enum Read {
    /// The next entries, oldest first.
    Next {
        /// The entries.
        entries: Vec<Arc<Entry>>,
        /// Where the cursor is after them.
        cursor: u64,
        /// Whether more waits, for the limit was reached.
        more: bool,
        /// Whether all channels are closed and nothing comes after this.
        over: bool,
    },
    /// The history has moved past the cursor.
    Fallen,
}

impl Broker {
    /// Puts a client on channels, from where it was or from where the policy says. It is a receiver
    /// of whatever is published from now on, until `subject` is disconnected.
    ///
    /// # Errors
    /// When a channel is new and there can be no more; when there is no log yet (see
    /// [`Broker::wait_for_log`]).
    pub fn subscribe(
        self: &Arc<Self>,
        channels: &[Channel],
        since: Since<'_>,
        subject: Option<&Subject>,
        reader: ReaderId,
    ) -> Result<Subscribed, Refused> {
        match self.away() {
            Some(why) => Err(Refused::Store(why)),
            None => self.subscribe_in(&mut self.lock(), channels, since, subject, reader),
        }
    }

    /// If there is no log yet: a place among those who are put on their channels once it is there, before
    /// anything is published.
    pub fn wait_for_log(
        &self,
        channels: &[Channel],
        since: Since<'_>,
        subject: Option<&Subject>,
        reader: ReaderId,
    ) -> Option<Waiting> {
        self.opening()?.wait(channels, since, subject, reader)
    }

    /// Puts a client on channels of the log, which is locked.
    pub(super) fn subscribe_in(
        self: &Arc<Self>,
        log: &mut Log,
        channels: &[Channel],
        since: Since<'_>,
        subject: Option<&Subject>,
        reader: ReaderId,
    ) -> Result<Subscribed, Refused> {
        let now = Moment::now();
        let mut keys = log.keys_of(channels)?;
        keys.sort_unstable();
        keys.dedup();
        for &key in &keys {
            log.refresh(key, now);
        }

        let (start, gap) = log.start(&keys, since);
        if gap.is_none() && log.is_over(&keys, &start) {
            keys.iter().for_each(|&key| log.note_idle(key));
            return Ok(Subscribed::Over);
        }
        log.mark_seen(&keys, &start);
        let (selection, closes) = log.enter(keys, reader);
        let party =
            subject.map(|subject| log.join(subject, CountedAt { selection: &selection, reader, closes }));
        let (cursor, beginning) = log.begin(&selection.channels, &start, now);

        let broker = Arc::clone(self);
        let subscription = Subscription { broker, selection, reader, closes, party, cursor, beginning };
        Ok(Subscribed::Open(subscription, gap))
    }
}

/// Where a subscription begins.
struct Start {
    cursor: u64,
    /// For each channel, if they differ.
    floors: SmallVec<[u64; 4]>,
}

impl Start {
    fn at(cursor: u64) -> Self {
        Self { cursor, floors: SmallVec::new() }
    }

    /// The event up to which a channel is not wanted.
    fn floor(&self, index: usize) -> u64 {
        self.floors.get(index).copied().unwrap_or(self.cursor)
    }
}

impl Log {
    /// The place of an id: everything after it is wanted. Else why it has none.
    pub(super) fn place(&self, id: &str, keys: &[Key]) -> Result<u64, Reason> {
        let position = Position::parse(id);
        if let Some(position) = &position
            && position.epoch == self.epoch
            && position.sequence <= self.head
        {
            return Ok(position.sequence);
        }
        // A publisher may number its events anew with each run: from the oldest on, nothing is lost.
        let places = keys.iter().filter_map(|&key| self.records.get(key)?.place_of(id));
        places.min().ok_or(match position {
            Some(position) if position.epoch != self.epoch => Reason::Epoch,
            _ => Reason::Unknown,
        })
    }

    fn start(&self, keys: &[Key], since: Since<'_>) -> (Start, Option<Gap>) {
        let Some(id) = since.last_event_id else { return (self.replay(keys, since.replay), None) };
        match self.place(id, keys) {
            Ok(place) if self.is_complete_after(place, keys) => (Start::at(place), None),
            Ok(place) => (Start::at(place), Some(self.gap(keys, Reason::Trimmed, Some(id), place))),
            Err(reason) => (Start::at(0), Some(self.gap(keys, reason, Some(id), 0))),
        }
    }

    fn replay(&self, keys: &[Key], replay: Replay) -> Start {
        match replay {
            Replay::Live => Start::at(self.head),
            Replay::All => Start::at(0),
            Replay::Newest(0) => Start::at(self.head),
            Replay::Newest(count) => {
                let newest = self.newest(keys, count);
                Start::at(newest.map_or(self.head, |sequence| sequence - 1))
            }
            Replay::Unseen => {
                let seen = |&key| match self.records.get(key) {
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
    fn newest(&self, keys: &[Key], count: usize) -> Option<u64> {
        let records = keys.iter().filter_map(|&key| self.records.get(key));
        let mut newest: Vec<u64> = records
            .flat_map(|record| record.after(0).rev().take(count).map(|entry| entry.sequence))
            .collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.dedup();
        newest.truncate(count);
        newest.last().copied()
    }

    /// Whether no event after this place has left these channels' histories.
    fn is_complete_after(&self, place: u64, keys: &[Key]) -> bool {
        keys.iter().filter_map(|&key| self.records.get(key)).all(|record| record.trimmed <= place)
    }

    /// Whether the channels' histories hold everything that is still to come for a cursor.
    fn is_complete_for(&self, cursor: u64, beginning: Option<&Beginning>, keys: &[Key]) -> bool {
        let Some(beginning) = beginning else { return self.is_complete_after(cursor, keys) };
        keys.iter().zip(&beginning.channels).all(|(&key, then)| {
            let after = cursor.max(then.floor);
            let is_there = |record: &Record| record.trimmed <= after || record.left.since(then.left) <= after;
            self.records.get(key).is_none_or(is_there)
        })
    }

    /// Where a subscription begins: right before what comes first; and what has to be remembered of it.
    fn begin(&self, keys: &[Key], start: &Start, now: Moment) -> (u64, Option<Box<Beginning>>) {
        let first = self.merge(keys, start.cursor, |index| start.floor(index), u64::MAX, 1).0;
        let cursor = first.first().map_or(self.head, |entry| entry.sequence - 1).max(start.cursor);
        if start.floors.is_empty() && self.is_complete_after(cursor, keys) {
            return (cursor, None);
        }
        let then = |(index, &key): (usize, &Key)| {
            let Some(record) = self.records.get(key) else { return ChannelThen { floor: 0, left: 0 } };
            let gone = record.oldest().map_or(self.head, |entry| entry.sequence - 1);
            ChannelThen { floor: start.floor(index).max(gone), left: record.left.count() }
        };
        let channels = keys.iter().enumerate().map(then).collect();
        (cursor, Some(Box::new(Beginning { until: self.head, at: now, channels })))
    }

    fn is_over(&self, keys: &[Key], start: &Start) -> bool {
        let mut records = keys.iter().filter_map(|&key| self.records.get(key));
        let waiting = || self.merge(keys, start.cursor, |index| start.floor(index), u64::MAX, 1).0;
        records.all(|record| record.closed) && waiting().is_empty()
    }

    /// What a client is handed now is unseen no more.
    fn mark_seen(&mut self, keys: &[Key], start: &Start) {
        let head = self.head;
        for (index, &key) in keys.iter().enumerate() {
            let from = start.floor(index);
            let Some(record) = self.records.get_mut(key) else { continue };
            // Who begins later than what is unseen leaves it unseen.
            if from <= record.seen && record.seen < head {
                record.seen = head;
                if let Some(changes) = &mut self.changes {
                    changes.dirty.insert(key);
                }
            }
        }
    }

    /// Counts a subscriber in; also, how often its channel has been closed, if it is but one.
    fn enter(&mut self, keys: SmallVec<[Key; 1]>, reader: ReaderId) -> (Arc<Selection>, u32) {
        let mut rates: SmallVec<[_; 0]> =
            keys.iter().map(|&key| self.records.get(key).and_then(|record| record.terms.max_rate)).collect();
        if rates.iter().all(Option::is_none) {
            rates = SmallVec::new();
        }
        let (selection, id, is_new) = self.selections.enter(Selection { channels: keys, rates });
        let alone = selection.channels.len() == 1;
        let mut closes = 0;
        for &key in &selection.channels {
            let Some(record) = self.records.get_mut(key) else { continue };
            record.count(reader, alone);
            closes = record.closes;
            if !alone && is_new {
                record.selections.push(id);
            }
        }
        (selection, closes)
    }

    /// Counts a subscriber out that has left.
    fn leave(&mut self, subscription: &Subscription) {
        match &subscription.party {
            // Those were all counted out when their subject was disconnected.
            Some(party) if party.ended_at().is_some() => {}
            Some(party) => {
                let party = Arc::clone(party);
                self.uncount(subscription.counted_at());
                self.part(&party, subscription.counted_at());
            }
            None => self.uncount(subscription.counted_at()),
        }
        let gone = self.selections.leave(&subscription.selection);
        for &key in &subscription.selection.channels {
            if let (Some(record), Some(gone)) = (self.records.get_mut(key), gone) {
                record.selections.retain(|id| *id != gone);
            }
            self.note_idle(key);
        }
    }

    /// Counts a subscriber out that gets nothing from now on.
    pub(super) fn uncount(&mut self, at: CountedAt<'_>) {
        let alone = at.selection.channels.len() == 1;
        self.selections.uncount(at.selection);
        for &key in &at.selection.channels {
            let Some(record) = self.records.get_mut(key) else { continue };
            // A close has counted out everyone who was there alone.
            if !alone || record.closes == at.closes {
                record.uncount(at.reader, alone);
            }
        }
    }

    /// Whether the history has moved past a cursor, so that nothing can be read for it any more.
    pub(super) fn has_fallen(&self, subscription: &Subscription) -> bool {
        let cursor = subscription.cursor;
        !self.is_complete_for(cursor, subscription.beginning.as_deref(), &subscription.selection.channels)
            && self.recent.after(cursor, self.head).is_none()
    }

    /// What comes next for a cursor: at most `limit` entries, none after `up_to`.
    pub(super) fn read(&mut self, subscription: &mut Subscription, up_to: u64, limit: usize) -> Read {
        let keys = &subscription.selection.channels;
        let cursor = subscription.cursor;
        let up_to = up_to.min(self.head);
        if subscription.beginning.as_ref().is_some_and(|beginning| cursor >= beginning.until) {
            subscription.beginning = None;
        }
        let beginning = subscription.beginning.as_deref();

        // Who is to get no more misses nothing.
        let (entries, reached) = if cursor >= up_to || self.is_complete_for(cursor, beginning, keys) {
            let floor = |index: usize| beginning.map_or(0, |beginning| beginning.channels[index].floor);
            self.merge(keys, cursor, floor, up_to, limit)
        } else {
            let Some(recent) = self.recent.after(cursor, self.head) else { return Read::Fallen };
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
        let closed = || keys.iter().filter_map(|&key| self.records.get(key)).all(|record| record.closed);
        Read::Next {
            entries,
            cursor: reached.max(cursor),
            more,
            over: !more && up_to == self.head && closed(),
        }
    }

    /// Whether a recent entry is for a subscription on these channels, whatever their histories hold.
    fn is_wanted(&self, entry: &Entry, keys: &[Key], beginning: Option<&Beginning>) -> bool {
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
                && self.records.get(*key).is_none_or(|record| !record.has_replaced(entry.sequence))
        })
    }

    /// The next entries of several channels in the order of the log, each once, and how far that is.
    /// `floor` says up to which event the channel at an index is not wanted.
    fn merge(
        &self,
        keys: &[Key],
        cursor: u64,
        floor: impl Fn(usize) -> u64,
        up_to: u64,
        limit: usize,
    ) -> (Vec<Arc<Entry>>, u64) {
        let floor = |index: usize| floor(index).max(cursor);
        let mut sources: SmallVec<[_; 4]> = keys
            .iter()
            .enumerate()
            .filter_map(|(index, &key)| Some(self.records.get(key)?.after(floor(index)).peekable()))
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
    pub(super) fn skip(&self, subscription: &mut Subscription) -> Gap {
        let keys = &subscription.selection.channels;
        // What was not wanted at first is not wanted now.
        let then = subscription.beginning.iter().flat_map(|beginning| &beginning.channels);
        let start = Start { cursor: subscription.cursor, floors: then.map(|then| then.floor).collect() };
        (subscription.cursor, subscription.beginning) = self.begin(keys, &start, Moment::now());
        self.gap(keys, Reason::Slow, None, subscription.cursor)
    }

    /// What to tell a client that does not get everything after `from`.
    pub(super) fn gap(&self, keys: &[Key], reason: Reason, requested: Option<&str>, from: u64) -> Gap {
        let records = || keys.iter().filter_map(|&key| self.records.get(key));
        let text = |entry: &Arc<Entry>| self.id(entry).to_string().into();
        let oldest = records().filter_map(|record| record.oldest()).min_by_key(|entry| entry.sequence);
        let newest = records().filter_map(|record| record.newest()).max_by_key(|entry| entry.sequence);
        let (next, _) = self.merge(keys, from, |_| from, u64::MAX, 1);
        let resume = next.first().map_or(self.head, |entry| entry.sequence - 1);
        Gap {
            reason,
            requested: requested.map(Into::into),
            oldest: oldest.map(text),
            newest: newest.map(text),
            resume: Position { epoch: self.epoch.clone(), sequence: resume },
        }
    }
}
