//! The log itself: numbers events, keeps the channels' pasts within bounds, and answers reads.
//! No locks, no waking: that is the broker's part.

mod forget;
mod overview;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use smallvec::SmallVec;

use self::forget::{Remembered, note_large};
use super::audience::{Audience, Dismissed};
use super::changes::Changes;
use super::entry::Entry;
use super::history::Record;
use super::moment::Moment;
use super::names::Names;
use super::publication::{Level, Receipt, Refused, Written, WrittenEvent};
use super::recent::{Happening, Recent};
use super::settings::{Settings, Store, Terms};
use crate::channel::Channel;
use crate::event::{Epoch, EventId, Position};
use crate::slots::{Key, Slots};
use crate::subject::Subject;

/// Everything the broker knows, in one place and in one order.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) epoch: Epoch,
    pub(super) settings: Arc<Settings>,
    /// The number of the newest event or ending; 0 before the first.
    pub(super) head: u64,
    pub(super) names: Names,
    pub(super) records: Slots<Record, Channel>,
    /// Channels that may be forgotten, the longest idle first.
    idle: VecDeque<Key<Channel>>,
    /// The newest event that left a channel which was then forgotten.
    pub(super) forgotten: u64,
    pub(super) audience: Audience,
    pub(super) recent: Recent,
    /// Bytes in all histories.
    total: usize,
    /// Each channel with a past, by its oldest event or an earlier place, and by which of that event's
    /// channels it is: a restart finds the same order.
    oldest: BinaryHeap<Reverse<(u64, usize, Key<Channel>)>>,
    /// Events with `dedupe` keys, the first to be looked at first.
    remembered: VecDeque<Remembered>,
    /// About how many bytes the keys take that have outlived their events.
    lingering: usize,
    /// Where the next sweep goes on.
    swept: usize,
    /// Entries that have just left a history; empty but for the time of a change.
    gone: Vec<Arc<Entry>>,
    /// Large entries that are to be freed when nobody waits for the log.
    large: Vec<Arc<Entry>>,
    /// What a store has yet to be told, if there is one.
    pub(super) changes: Option<Changes>,
}

/// A publication that can be taken: its channels are there. It has no number yet.
#[derive(Debug)]
pub(super) struct Checked {
    publication: Written,
    channels: SmallVec<[Key<Channel>; 1]>,
    /// The id of the first try, if this is another: nothing is to be done.
    first: Option<EventId>,
}

impl Checked {
    /// The same, or nothing to be done, if this is another try of something else on its way.
    pub(super) fn unless(self, first: Option<EventId>) -> Self {
        Self { first: self.first.or(first), ..self }
    }

    /// The same with the number `sequence` for its event, if it has one that is to be published. Nobody
    /// sees it before [`Log::commit`].
    pub(super) fn number(self, sequence: u64, now: Moment, time: SystemTime) -> Draft {
        let Self { publication, channels, first } = self;
        let Written { channels: names, event, close, dedupe, disconnect } = publication;
        let event = event.filter(|_| first.is_none());
        let entry = event.map(|WrittenEvent { text, own_id, ttl }| Entry {
            sequence,
            channels: SmallVec::new(),
            encoded: text.number(sequence),
            time,
            born: now,
            expires: ttl.map(|ttl| now + ttl),
            own_id,
            dedupe,
            holders: AtomicU32::new(0),
            readers: 0,
        });
        Draft { names, channels, entry, close, disconnect, first }
    }
}

/// A publication that has been checked and numbered, and is not in the log yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) names: Vec<Channel>,
    channels: SmallVec<[Key<Channel>; 1]>,
    pub(super) entry: Option<Entry>,
    pub(super) close: bool,
    pub(super) disconnect: Vec<Subject>,
    /// The id of the first try, if this is another: nothing is to be done.
    first: Option<EventId>,
}

impl Draft {
    /// Whether nothing is to be done.
    pub(super) fn is_duplicate(&self) -> bool {
        self.first.is_some()
    }

    /// How many numbers of the log it takes: one for its event, one for a close, whether or not anybody is
    /// there or the channels are closed already, and one for each subject that is disconnected.
    pub(super) fn numbers(&self) -> u64 {
        if self.is_duplicate() {
            return 0;
        }
        u64::from(self.entry.is_some()) + u64::from(self.close) + self.disconnect.len() as u64
    }
}

impl Log {
    pub(super) fn new(settings: Settings) -> Self {
        Self::with_epoch(settings, Epoch::random())
    }

    pub(super) fn with_epoch(settings: Settings, epoch: Epoch) -> Self {
        let changes = (settings.store != Store::Memory).then(Changes::default);
        Self {
            epoch,
            settings: Arc::new(settings),
            head: 0,
            names: Names::default(),
            records: Slots::default(),
            idle: VecDeque::new(),
            forgotten: 0,
            audience: Audience::default(),
            recent: Recent::default(),
            total: 0,
            oldest: BinaryHeap::new(),
            remembered: VecDeque::new(),
            lingering: 0,
            swept: 0,
            gone: Vec::new(),
            large: Vec::new(),
            changes,
        }
    }

    /// Takes on other limits and rules, but not another store. They hold for channels that begin from now
    /// on, and for the others after [`Log::set_terms`]. A rate holds for streams that begin from now on.
    pub(super) fn take_on(&mut self, settings: &Settings) {
        let (store, stored) = (self.settings.store.clone(), self.settings.stored);
        self.settings = Arc::new(Settings { store, stored, ..settings.clone() });
    }

    /// The same for all channels at once, while nobody waits for the log.
    pub(super) fn reconfigure(&mut self, settings: &Arc<Settings>) {
        self.settings = Arc::clone(settings);
        for key in self.records.keys() {
            if let Some(record) = self.records.get_mut(key) {
                record.set_terms(settings.of(&record.name));
            }
        }
    }

    /// What holds for some channels from now on.
    pub(super) fn set_terms(&mut self, terms: Vec<(Key<Channel>, Terms)>) {
        for (key, terms) in terms {
            if let Some(record) = self.records.get_mut(key) {
                record.set_terms(terms);
            }
        }
    }

    /// The channels at up to `count` places from place `from` on, and the place to go on at; 0 after the
    /// last.
    pub(super) fn names_at(&self, from: usize, count: usize) -> (Vec<(Key<Channel>, Channel)>, usize) {
        let (keys, next) = self.records.walk(from, count);
        let name = |key| Some((key, self.records.get(key)?.name.clone()));
        (keys.into_iter().filter_map(name).collect(), next)
    }

    /// Checks whether a publication can be taken, and makes its channels.
    pub(super) fn check(&mut self, publication: Written, now: Moment) -> Result<Checked, Refused> {
        let channels = self.keys_of(&publication.channels)?;
        let first = self.first_try(&channels, publication.dedupe.as_deref(), now);
        Ok(Checked { publication, channels, first })
    }

    /// Makes a draft part of the log. The receipt, and a bit for each reader that has something to do
    /// now. The bytes of all channels may then be too many: see [`Log::keep_to_total`].
    pub(super) fn commit(&mut self, draft: Draft, level: Level, now: Moment) -> (Receipt, u64) {
        let mut receipt = Receipt { id: None, receivers: 0, level, duplicate: false, disconnected: 0 };
        if draft.is_duplicate() {
            return (Receipt { id: draft.first, duplicate: true, ..receipt }, 0);
        }
        let last = self.head + draft.numbers();
        let mut wake = 0;
        let channels = self.still_known(&draft.names, draft.channels);
        if let Some(mut entry) = draft.entry {
            receipt.id = Some(self.id(&entry));
            receipt.receivers = self.audience.receivers(&self.records, &channels);
            entry.readers = self.readers(&channels);
            entry.channels = channels.clone();
            wake |= entry.readers;
            let handed = self.handed(&channels);
            self.append(&Arc::new(entry), handed, now);
        }
        if draft.close {
            wake |= self.close(&channels);
        }
        channels.iter().for_each(|&key| self.note_idle(key));
        for subject in &draft.disconnect {
            let dismissed = self.audience.disconnect(&mut self.records, subject, self.head + 1);
            receipt.disconnected += dismissed.count;
            wake |= self.end(dismissed);
        }
        debug_assert_eq!(self.head, last, "each number was given to somebody");
        (receipt, wake)
    }

    /// Closes channels, all at the next place; a bit for each reader that has something to do now.
    fn close(&mut self, channels: &[Key<Channel>]) -> u64 {
        let place = self.head + 1;
        let mut dismissed = Dismissed::default();
        for &key in channels {
            dismissed.join(self.audience.close(&mut self.records, key, place));
        }
        self.end(dismissed)
    }

    /// Gives the next place to an ending.
    fn end(&mut self, dismissed: Dismissed) -> u64 {
        let Dismissed { count: _, selections, readers } = dismissed;
        self.head += 1;
        let large = &mut self.large;
        self.recent.push(Happening::Ending { readers, selections }, |entry| note_large(large, entry));
        readers
    }

    /// The channels' keys, which may have been forgotten since they were looked up.
    fn still_known(
        &mut self,
        names: &[Channel],
        channels: SmallVec<[Key<Channel>; 1]>,
    ) -> SmallVec<[Key<Channel>; 1]> {
        if channels.iter().all(|&key| self.records.get(key).is_some()) {
            return channels;
        }
        let keys: SmallVec<[Key<Channel>; 1]> = names.iter().map(|name| self.key_of(name)).collect();
        for &key in &keys {
            if let Some(record) = self.records.get_mut(key) {
                // The step that has just been written may have made one.
                record.has_row = true;
            }
        }
        keys
    }

    /// The channels' keys; those that do not exist yet are made, all or none.
    pub(super) fn keys_of(&mut self, channels: &[Channel]) -> Result<SmallVec<[Key<Channel>; 1]>, Refused> {
        let known: Option<SmallVec<_>> = channels.iter().map(|channel| self.key(channel)).collect();
        if let Some(keys) = known {
            return Ok(keys);
        }
        let new = channels.iter().filter(|channel| self.names.get(channel).is_none()).count();
        // There may be more than are allowed, since they were configured to be fewer; these go on.
        while new > 0 && self.records.len() + new > self.settings.max_channels {
            if !self.forget_longest_idle(channels) {
                return Err(Refused::TooManyChannels(self.settings.max_channels));
            }
        }
        Ok(channels.iter().map(|channel| self.key_of(channel)).collect())
    }

    pub(super) fn key_of(&mut self, channel: &Channel) -> Key<Channel> {
        if let Some(key) = self.names.get(channel) {
            return key;
        }
        let terms = self.settings.of(channel);
        // Whatever was forgotten may have been of a channel of this name.
        let mut record = Record::new(channel.clone(), terms, self.forgotten);
        record.has_row = self.changes.as_mut().is_some_and(|changes| changes.note_known(channel));
        let is_dirty = record.has_row || self.forgotten > 0;
        let key = self.records.insert(record);
        self.names.insert(channel.clone(), key);
        if is_dirty {
            self.note_dirty(key);
        }
        key
    }

    /// The id of the first try, if this is another.
    fn first_try(&mut self, channels: &[Key<Channel>], dedupe: Option<&str>, now: Moment) -> Option<EventId> {
        let dedupe = dedupe?;
        self.forget_keys(now);
        let first = channels.iter().find_map(|&key| self.records.get(key)?.first(dedupe))?;
        Some(match &first.own_id {
            Some(id) => EventId::Publisher(id.clone()),
            None => self.position(first.sequence),
        })
    }

    fn readers(&self, channels: &[Key<Channel>]) -> u64 {
        let readers = |&key| self.records.get(key).map_or(0, |record| record.attendance.readers());
        channels.iter().map(readers).fold(0, |bits, bit| bits | bit)
    }

    /// On which of these channels somebody listens, a bit each.
    pub(super) fn handed(&self, channels: &[Key<Channel>]) -> u64 {
        let listens = |key| self.records.get(key).is_some_and(|record| record.attendance.listeners() > 0);
        let bits = channels.iter().enumerate().map(|(index, &key)| u64::from(listens(key)) << index);
        bits.fold(0, |bits, bit| bits | bit)
    }

    /// Adds an event to its channels' histories; their bytes together may then be too many.
    pub(super) fn append(&mut self, entry: &Arc<Entry>, handed: u64, now: Moment) {
        self.head = entry.sequence;
        entry.holders.store(entry.channels.len() as u32, Ordering::Relaxed);
        let mut gone = std::mem::take(&mut self.gone);
        for (index, &key) in entry.channels.iter().enumerate() {
            self.audience.open(&mut self.records, key);
            let Some(record) = self.records.get_mut(key) else { continue };
            if record.note_handed(entry.sequence, handed >> index & 1 == 1)
                && let Some(changes) = &mut self.changes
            {
                changes.note_dirty(key);
            }
            self.total = self.total.saturating_add_signed(record.push(entry, now, &mut gone));
            if !record.in_heap
                && let Some(place) = record.oldest_place(key)
            {
                record.in_heap = true;
                self.oldest.push(Reverse(place));
            }
        }
        if let Some(dedupe) = &entry.dedupe {
            self.remember(entry.sequence, entry.channels.clone(), dedupe.clone(), now);
        }
        let large = &mut self.large;
        self.recent.push(Happening::Event(Arc::clone(entry)), |entry| note_large(large, entry));
        self.note_gone(gone);
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

    pub(super) fn key(&self, channel: &Channel) -> Option<Key<Channel>> {
        self.names.get(channel)
    }
}
