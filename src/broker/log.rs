//! The log itself: numbers events, keeps the channels' pasts within bounds, and answers reads.
//! No locks, no waking: that is the broker's part.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::entry::Entry;
use super::history::Record;
use super::party::Party;
use super::publication::{ChannelState, Kept, Level, Publication, Receipt, Refused};
use super::reader::Inbox;
use super::recent::Recent;
use super::selection::Selections;
use super::settings::Settings;
use super::slots::{Key, Slots};
use crate::channel::Channel;
use crate::event::encode::Encoded;
use crate::event::{Epoch, Event, EventId, Position};
use crate::subject::Subject;

/// Channels without past and subscribers that are still known, so that a client that was there is
/// told the truth about what it missed. Older ones are forgotten.
const MOST_IDLE: usize = 10_000;
/// `dedupe` keys that are remembered although their events have left the history.
const MOST_KEYS: usize = 1 << 20;

/// Everything the broker knows, in one place and in one order.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) epoch: Epoch,
    settings: Settings,
    /// The number of the newest event; 0 before the first.
    pub(super) head: u64,
    names: BTreeMap<Channel, Key>,
    pub(super) records: Slots<Record>,
    /// Channels that may be forgotten, the longest idle first.
    idle: VecDeque<Key>,
    /// The newest event that left a channel which was then forgotten.
    forgotten: u64,
    pub(super) selections: Selections,
    pub(super) recent: Recent,
    /// Bytes in all histories.
    total: usize,
    /// Each channel with a past, by its oldest event or an earlier place.
    oldest: BinaryHeap<Reverse<(u64, Key)>>,
    /// `dedupe` keys and when to look whether they can be forgotten.
    keys: VecDeque<(Instant, Key, Arc<Entry>)>,
    pub(super) readers: Vec<Inbox>,
    /// Who was accepted for which subject.
    pub(super) parties: HashMap<Subject, Arc<Party>>,
    /// Where the next sweep goes on.
    swept: usize,
}

/// A publication that has been checked and numbered, and is not in the log yet.
#[derive(Debug)]
pub(super) struct Draft {
    names: Vec<Channel>,
    channels: SmallVec<[Key; 1]>,
    entry: Option<Entry>,
    close: bool,
    /// The id of the first try, if this is another: nothing is to be done.
    first: Option<EventId>,
}

impl Log {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            epoch: Epoch::random(),
            settings,
            head: 0,
            names: BTreeMap::new(),
            records: Slots::new(),
            idle: VecDeque::new(),
            forgotten: 0,
            selections: Selections::new(),
            recent: Recent::default(),
            total: 0,
            oldest: BinaryHeap::new(),
            keys: VecDeque::new(),
            readers: Vec::new(),
            parties: HashMap::new(),
            swept: 0,
        }
    }

    /// Checks a publication and gives its event the number `sequence`; nobody sees it before
    /// [`Log::commit`].
    pub(super) fn prepare(
        &mut self,
        publication: Publication,
        sequence: u64,
        now: Instant,
        time: SystemTime,
    ) -> Result<Draft, Refused> {
        let channels = self.keys_of(&publication.channels)?;
        let first = self.first_try(&channels, publication.dedupe.as_deref(), now);
        let entry = match (&publication.event, &first) {
            (Some(event), None) => Some(self.number(event, &publication, sequence, now, time)),
            _ => None,
        };
        Ok(Draft { names: publication.channels, channels, entry, close: publication.close, first })
    }

    /// Makes a draft part of the log. The receipt, and a bit for each reader that has something to do
    /// now.
    pub(super) fn commit(&mut self, draft: Draft, level: Level, now: Instant) -> (Receipt, u64) {
        if let Some(first) = draft.first {
            return (Receipt { id: Some(first), receivers: 0, level, duplicate: true }, 0);
        }
        let channels = self.still(&draft.names, draft.channels);
        let mut receipt = Receipt { id: None, receivers: 0, level, duplicate: false };
        let mut wake = 0;
        if let Some(mut entry) = draft.entry {
            receipt.id = Some(self.id(&entry));
            receipt.receivers = self.receivers(&channels);
            entry.readers = self.readers(&channels);
            entry.channels = channels.clone();
            wake |= entry.readers;
            self.append(&Arc::new(entry), now);
        }
        for &key in &channels {
            if draft.close {
                wake |= self.close(key);
            }
            self.note_idle(key);
        }
        (receipt, wake)
    }

    /// The channels' keys, which may have been forgotten since they were looked up.
    fn still(&mut self, names: &[Channel], channels: SmallVec<[Key; 1]>) -> SmallVec<[Key; 1]> {
        if channels.iter().all(|&key| self.records.get(key).is_some()) {
            return channels;
        }
        names.iter().map(|name| self.key_of(name)).collect()
    }

    /// The channels' keys; those that do not exist yet are made, all or none.
    pub(super) fn keys_of(&mut self, channels: &[Channel]) -> Result<SmallVec<[Key; 1]>, Refused> {
        let new = channels.iter().filter(|channel| !self.names.contains_key(*channel)).count();
        while self.records.len() + new > self.settings.max_channels {
            if !self.forget_longest_idle() {
                return Err(Refused::TooManyChannels(self.settings.max_channels));
            }
        }
        Ok(channels.iter().map(|channel| self.key_of(channel)).collect())
    }

    fn key_of(&mut self, channel: &Channel) -> Key {
        if let Some(&key) = self.names.get(channel) {
            return key;
        }
        let terms = self.settings.of(channel);
        // Whatever was forgotten may have been of a channel of this name.
        let key = self.records.insert(Record::new(channel.clone(), terms, self.forgotten));
        self.names.insert(channel.clone(), key);
        key
    }

    /// The id of the first try, if this is another.
    fn first_try(&mut self, channels: &[Key], dedupe: Option<&str>, now: Instant) -> Option<EventId> {
        let dedupe = dedupe?;
        self.forget_keys(now);
        let first = channels.iter().find_map(|&key| self.records.get(key)?.first(dedupe))?;
        Some(match &first.own_id {
            Some(id) => EventId::Publisher(id.clone()),
            None => self.position(first.sequence),
        })
    }

    fn number(
        &self,
        event: &Event,
        publication: &Publication,
        sequence: u64,
        now: Instant,
        time: SystemTime,
    ) -> Entry {
        let own_id: Option<Box<str>> = event.id().map(Into::into);
        let encoded = match &own_id {
            Some(id) => Encoded::new(event, id),
            None => Encoded::new(event, &Position { epoch: self.epoch.clone(), sequence }),
        };
        Entry {
            sequence,
            channels: SmallVec::new(),
            encoded,
            time,
            born: now,
            expires: publication.ttl.and_then(|ttl| now.checked_add(ttl)),
            own_id,
            dedupe: publication.dedupe.clone(),
            readers: 0,
        }
    }

    fn readers(&self, channels: &[Key]) -> u64 {
        let readers = |&key| self.records.get(key).map_or(0, Record::readers);
        channels.iter().map(readers).fold(0, |bits, bit| bits | bit)
    }

    fn append(&mut self, entry: &Arc<Entry>, now: Instant) {
        self.head = entry.sequence;
        for &key in &entry.channels {
            let Some(record) = self.records.get_mut(key) else { continue };
            record.closed = false;
            record.note_handed(entry.sequence);
            self.total = self.total.saturating_add_signed(record.push(entry, now));
            if !record.in_heap
                && let Some(oldest) = record.oldest().map(|entry| entry.sequence)
            {
                record.in_heap = true;
                self.oldest.push(Reverse((oldest, key)));
            }
            if entry.dedupe.is_some() {
                self.keys.push_back((now + self.settings.dedupe_window, key, Arc::clone(entry)));
            }
        }
        self.recent.push(Arc::clone(entry));
        self.trim_total();
    }

    /// How many connections listen on any of these channels.
    fn receivers(&self, channels: &[Key]) -> usize {
        if let [key] = channels {
            return self.records.get(*key).map_or(0, Record::subscribers);
        }
        let records = || channels.iter().filter_map(|&key| self.records.get(key));
        let alone: usize = records().map(Record::alone).sum();
        let mut shared: SmallVec<[_; 8]> =
            records().flat_map(|record| record.selections.iter().copied()).collect();
        shared.sort_unstable();
        shared.dedup();
        let shared = shared.iter().filter_map(|&id| self.selections.get(id));
        alone + shared.map(|(subscribers, _)| subscribers as usize).sum::<usize>()
    }

    /// Closes a channel; a bit for each reader that has a subscriber on it.
    fn close(&mut self, key: Key) -> u64 {
        let head = self.head;
        let Some(record) = self.records.get_mut(key) else { return 0 };
        let readers = record.readers();
        record.close();
        for (reader, inbox) in self.readers.iter_mut().enumerate() {
            if readers >> reader & 1 == 1 {
                inbox.closed.push((key, head));
            }
        }
        readers
    }

    /// Lets the oldest events of all go until their bytes are within the bound.
    fn trim_total(&mut self) {
        while self.total > self.settings.total_bytes {
            let Some(Reverse((sequence, key))) = self.oldest.pop() else { return };
            let Some(record) = self.records.get_mut(key) else { continue };
            record.in_heap = false;
            let Some(oldest) = record.oldest().map(|entry| entry.sequence) else { continue };
            if oldest == sequence {
                self.total -= record.drop_oldest();
            }
            if let Some(oldest) = record.oldest().map(|entry| entry.sequence) {
                record.in_heap = true;
                self.oldest.push(Reverse((oldest, key)));
            }
            self.note_idle(key);
        }
    }

    /// Brings a channel's past up to date with the clock.
    pub(super) fn refresh(&mut self, key: Key, now: Instant) -> Option<&mut Record> {
        let record = self.records.get_mut(key)?;
        self.total -= record.trim(now);
        Some(record)
    }

    /// If nothing is left of a channel and nobody listens, it may be forgotten some day.
    pub(super) fn note_idle(&mut self, key: Key) {
        let Some(record) = self.records.get_mut(key) else { return };
        if record.idle || record.subscribers() > 0 || record.len() > 0 {
            return;
        }
        record.idle = true;
        self.idle.push_back(key);
        if self.idle.len() > MOST_IDLE {
            self.forget_longest_idle();
        }
    }

    /// Forgets the channel that has been idle for longest; whether there was one.
    fn forget_longest_idle(&mut self) -> bool {
        while let Some(key) = self.idle.pop_front() {
            let Some(record) = self.records.get_mut(key) else { continue };
            record.idle = false;
            if record.subscribers() > 0 || record.len() > 0 {
                continue;
            }
            self.forgotten = self.forgotten.max(record.trimmed);
            if let Some(record) = self.records.remove(key) {
                self.names.remove(&record.name);
            }
            self.compact_heap();
            return true;
        }
        false
    }

    /// The heap may hold places of channels that are gone; not many more than there are channels.
    fn compact_heap(&mut self) {
        if self.oldest.len() > 2 * self.records.len() + 1024 {
            self.oldest.retain(|Reverse((_, key))| self.records.get(*key).is_some());
        }
    }

    /// Forgets `dedupe` keys whose window is over and whose events are gone.
    fn forget_keys(&mut self, now: Instant) {
        for _ in 0..self.keys.len() {
            let many = self.keys.len() > MOST_KEYS;
            if !many && self.keys.front().is_none_or(|(due, ..)| *due > now) {
                return;
            }
            let Some((_, key, entry)) = self.keys.pop_front() else { return };
            let Some(record) = self.records.get_mut(key) else { continue };
            if record.holds(entry.sequence) {
                self.keys.push_back((now + self.settings.dedupe_window, key, entry));
            } else if let Some(dedupe) = &entry.dedupe {
                record.forget_key(dedupe, entry.sequence);
            }
        }
    }

    /// Lets time pass for some of the channels; all of them have their turn within a minute.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.forget_keys(now);
        let (keys, next) = self.records.walk(self.swept, 2000);
        self.swept = next;
        for key in keys {
            self.refresh(key, now);
            self.note_idle(key);
        }
    }

    /// An entry's id on the wire.
    pub(super) fn id(&self, entry: &Entry) -> EventId {
        match &entry.own_id {
            Some(id) => EventId::Publisher(id.clone()),
            None => self.position(entry.sequence),
        }
    }

    pub(super) fn position(&self, sequence: u64) -> EventId {
        EventId::Position(Position { epoch: self.epoch.clone(), sequence })
    }

    pub(super) fn key(&self, channel: &Channel) -> Option<Key> {
        self.names.get(channel).copied()
    }

    /// What there is to tell of a channel.
    pub(super) fn state(&mut self, key: Key, now: Instant) -> Option<ChannelState> {
        self.refresh(key, now);
        let record = self.records.get(key)?;
        Some(ChannelState {
            channel: record.name.clone(),
            subscribers: record.subscribers(),
            events: record.len(),
            bytes: record.bytes(),
            oldest: record.oldest().map(|entry| self.id(entry)),
            newest: record.newest().map(|entry| self.id(entry)),
            closed: record.closed,
        })
    }

    /// Channels in the order of their names.
    pub(super) fn names_after(&self, after: Option<&str>) -> impl Iterator<Item = (&Channel, Key)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<str, _>((from, Bound::Unbounded)).map(|(name, &key)| (name, key))
    }

    /// What is still to be read of a channel.
    pub(super) fn history(&mut self, key: Key, after: Option<&str>, limit: usize, now: Instant) -> Vec<Kept> {
        self.refresh(key, now);
        let Some(record) = self.records.get(key) else { return Vec::new() };
        let from = after.and_then(|id| self.place(id, &[key]).ok()).unwrap_or(0);
        let kept =
            |entry: &Arc<Entry>| Kept { id: self.id(entry), event: entry.encoded.event(), time: entry.time };
        record.after(from).take(limit).map(kept).collect()
    }
}
