//! The log itself: gives out the numbers, and asks its parts in order. [`Channels`] knows which channels there
//! are, [`Retention`] what is kept for how long, [`Audience`] who is there and where they end. No locks, no
//! waking: that is the broker's part.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::audience::{Audience, Dismissed};
use super::changes::Changes;
use super::channels::Channels;
use super::entry::Entry;
use super::gate::Gate;
use super::moment::Moment;
use super::publication::{ChannelState, Level, Receipt, Refused, Written, WrittenEvent};
use super::recent::{Happening, Recent};
use super::retention::Retention;
use super::settings::{Settings, Store, Terms};
use super::taken_over::TakenOver;
use crate::channel::Channel;
use crate::event::{Epoch, EventId, Position};
use crate::slots::Key;
use crate::subject::Subject;

/// How many channels are looked at while everybody else waits.
const SWEPT_AT_ONCE: usize = 250;

/// Everything the broker knows, in one place and in one order.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) epoch: Epoch,
    pub(super) settings: Arc<Settings>,
    /// The number of the newest event or ending; 0 before the first.
    pub(super) head: u64,
    pub(super) channels: Channels,
    pub(super) retention: Retention,
    pub(super) audience: Audience,
    pub(super) recent: Recent,
    pub(super) taken_over: TakenOver,
    /// Where the next sweep goes on.
    swept: usize,
    pub(super) gate: Gate,
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
            channels: Channels::default(),
            retention: Retention::new(changes),
            audience: Audience::default(),
            recent: Recent::default(),
            taken_over: TakenOver::default(),
            swept: 0,
            gate: Gate::default(),
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
        for key in self.channels.keys() {
            if let Some(record) = self.channels.get_mut(key) {
                record.set_terms(settings.of(&record.name));
            }
        }
    }

    /// What holds for some channels from now on.
    pub(super) fn set_terms(&mut self, terms: Vec<(Key<Channel>, Terms)>) {
        for (key, terms) in terms {
            if let Some(record) = self.channels.get_mut(key) {
                record.set_terms(terms);
            }
        }
    }

    /// The channels at up to `count` places from place `from` on, and the place to go on at; 0 after the
    /// last.
    pub(super) fn names_at(&self, from: usize, count: usize) -> (Vec<(Key<Channel>, Channel)>, usize) {
        let (keys, next) = self.channels.walk(from, count);
        let name = |key| Some((key, self.channels.get(key)?.name.clone()));
        (keys.into_iter().filter_map(name).collect(), next)
    }

    /// Checks whether a publication can be taken, and makes its channels.
    pub(super) fn check(&mut self, publication: Written, now: Moment) -> Result<Checked, Refused> {
        let channels = self.keys_to_publish(&publication.channels)?;
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
            receipt.receivers = self.audience.receivers(&self.channels, &channels);
            entry.readers = self.readers(&channels);
            entry.channels = channels.clone();
            wake |= entry.readers;
            let handed = self.handed(&channels);
            self.append(&Arc::new(entry), handed, now);
            let brink = self.brink();
            self.gate.note(&mut self.channels, &channels, self.head, brink);
        }
        if draft.close {
            wake |= self.close(&channels);
        }
        channels.iter().for_each(|&key| self.note_idle(key));
        for subject in &draft.disconnect {
            let dismissed = self.audience.disconnect(&mut self.channels, subject, self.head + 1);
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
            dismissed.join(self.audience.close(&mut self.channels, key, place));
        }
        self.end(dismissed)
    }

    /// Gives the next place to an ending.
    fn end(&mut self, dismissed: Dismissed) -> u64 {
        let Dismissed { count: _, selections, readers } = dismissed;
        self.head += 1;
        self.note_recent(Happening::Ending { readers, selections });
        readers
    }

    /// The channels' keys, which may have been forgotten since they were looked up.
    fn still_known(
        &mut self,
        names: &[Channel],
        channels: SmallVec<[Key<Channel>; 1]>,
    ) -> SmallVec<[Key<Channel>; 1]> {
        if channels.iter().all(|&key| self.channels.get(key).is_some()) {
            return channels;
        }
        let keys: SmallVec<[Key<Channel>; 1]> = names.iter().map(|name| self.key_of(name)).collect();
        for &key in &keys {
            if let Some(record) = self.channels.get_mut(key) {
                // The step that has just been written may have made one.
                record.has_row = true;
            }
        }
        keys
    }

    /// The channels' keys, for a publisher; those that do not exist yet are made, all or none.
    pub(super) fn keys_to_publish(
        &mut self,
        channels: &[Channel],
    ) -> Result<SmallVec<[Key<Channel>; 1]>, Refused> {
        let is_there = |key: &Key<Channel>| self.channels.get(*key).is_some_and(|record| record.is_published);
        let there: Option<SmallVec<_>> =
            channels.iter().map(|channel| self.channels.key(channel).filter(is_there)).collect();
        if let Some(keys) = there {
            return Ok(keys);
        }
        self.make_room(channels)?;
        Ok(channels.iter().map(|channel| self.key_of(channel)).collect())
    }

    /// The same for a subscriber. Names that clients make must not use up what publishers need: at most half
    /// of the channels are there for their sake alone.
    pub(super) fn keys_to_listen(
        &mut self,
        channels: &[Channel],
    ) -> Result<SmallVec<[Key<Channel>; 1]>, Refused> {
        let new = self.new_among(channels);
        let most = self.settings.max_channels.div_ceil(2);
        while new > 0 && self.channels.unpublished() + new > most {
            if !self.retention.forget_unpublished(&mut self.channels, channels) {
                return Err(Refused::TooManyNames(most));
            }
        }
        self.make_room(channels)?;
        Ok(channels.iter().map(|channel| self.find_or_make(channel)).collect())
    }

    /// Forgets idle channels until those of these names that are new have room.
    fn make_room(&mut self, channels: &[Channel]) -> Result<(), Refused> {
        let new = self.new_among(channels);
        // There may be more than are allowed, since they were configured to be fewer; these go on.
        while new > 0 && self.channels.len() + new > self.settings.max_channels {
            if !self.retention.forget_longest_idle(&mut self.channels, channels) {
                return Err(Refused::TooManyChannels(self.settings.max_channels));
            }
        }
        Ok(())
    }

    fn new_among(&self, channels: &[Channel]) -> usize {
        channels.iter().filter(|channel| self.channels.key(channel).is_none()).count()
    }

    /// The key of a channel that is published to, or was.
    pub(super) fn key_of(&mut self, channel: &Channel) -> Key<Channel> {
        let key = self.find_or_make(channel);
        self.channels.note_published(key);
        key
    }

    fn find_or_make(&mut self, channel: &Channel) -> Key<Channel> {
        if let Some(key) = self.channels.key(channel) {
            return key;
        }
        let key = self.channels.insert(channel, self.settings.of(channel));
        let has_row = self.retention.changes_mut().is_some_and(|changes| changes.note_known(channel));
        if let Some(record) = self.channels.get_mut(key) {
            record.has_row = has_row;
        }
        if has_row || self.channels.forgotten() > 0 {
            self.note_dirty(key);
        }
        key
    }

    /// The id of the first try, if this is another.
    fn first_try(&mut self, channels: &[Key<Channel>], dedupe: Option<&str>, now: Moment) -> Option<EventId> {
        let dedupe = dedupe?;
        self.forget_keys(now);
        let first = channels.iter().find_map(|&key| self.channels.get(key)?.first(dedupe))?;
        Some(match &first.own_id {
            Some(id) => EventId::Publisher(id.clone()),
            None => self.position(first.sequence),
        })
    }

    fn readers(&self, channels: &[Key<Channel>]) -> u64 {
        let readers = |&key| self.channels.get(key).map_or(0, |record| record.attendance.readers());
        channels.iter().map(readers).fold(0, |bits, bit| bits | bit)
    }

    /// On which of these channels somebody listens, a bit each.
    pub(super) fn handed(&self, channels: &[Key<Channel>]) -> u64 {
        let listens = |key| self.channels.get(key).is_some_and(|record| record.attendance.listeners() > 0);
        let bits = channels.iter().enumerate().map(|(index, &key)| u64::from(listens(key)) << index);
        bits.fold(0, |bits, bit| bits | bit)
    }

    /// Adds an event to its channels' histories; their bytes together may then be too many.
    pub(super) fn append(&mut self, entry: &Arc<Entry>, handed: u64, now: Moment) {
        self.head = entry.sequence;
        for &key in &entry.channels {
            self.audience.open(&mut self.channels, key);
        }
        self.retention.push(&mut self.channels, entry, handed, now);
        if let Some(dedupe) = &entry.dedupe {
            let (channels, dedupe) = (entry.channels.clone(), dedupe.clone());
            self.retention.remember(entry.sequence, channels, dedupe, now, &self.settings);
        }
        self.note_recent(Happening::Event(Arc::clone(entry)));
    }

    fn note_recent(&mut self, happening: Happening) {
        let retention = &mut self.retention;
        self.recent.push(happening, |entry| retention.let_go(entry));
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
        self.channels.key(channel)
    }

    /// The place behind which the newest quarter of the recent entries begins.
    pub(super) fn brink(&self) -> u64 {
        self.recent.brink(self.head)
    }

    /// Whether somebody on these channels is too far behind.
    pub(super) fn is_held_back(&self, channels: &[Channel]) -> bool {
        let brink = self.brink();
        let mut keys = channels.iter().filter_map(|channel| self.key(channel));
        keys.any(|key| self.gate.holds_back(&self.channels, key, brink))
    }

    /// Lets the oldest events of all go until their bytes are within the bound that is configured, but not
    /// too many in one go; whether there are more.
    pub(super) fn keep_to_total(&mut self) -> bool {
        self.trim_total(self.settings.total_bytes)
    }

    /// The same with another bound.
    pub(super) fn trim_total(&mut self, bound: usize) -> bool {
        self.retention.trim_total(&mut self.channels, bound)
    }

    /// Brings a channel's past up to date with the clock.
    pub(super) fn refresh(&mut self, key: Key<Channel>, now: Moment) {
        self.retention.refresh(&mut self.channels, key, now);
    }

    /// If nothing is left of a channel and nobody is there, it may be forgotten some day.
    pub(super) fn note_idle(&mut self, key: Key<Channel>) {
        self.retention.note_idle(&mut self.channels, key);
    }

    /// Forgets `dedupe` keys whose window is over and whose events are gone.
    pub(super) fn forget_keys(&mut self, now: Moment) {
        self.retention.forget_keys(&mut self.channels, now, &self.settings);
    }

    /// Lets time pass for some of the channels, and the next time for the next.
    pub(super) fn sweep(&mut self, now: Moment) {
        let (keys, next) = self.channels.walk(self.swept, SWEPT_AT_ONCE);
        self.swept = next;
        for key in keys {
            self.refresh(key, now);
            self.note_idle(key);
        }
    }

    /// What there is to tell of a channel.
    pub(super) fn state(&mut self, key: Key<Channel>, now: Moment) -> Option<ChannelState> {
        self.refresh(key, now);
        let record = self.channels.get(key)?;
        Some(ChannelState {
            channel: record.name.clone(),
            subscribers: record.attendance.listeners(),
            events: record.len(),
            bytes: record.bytes(),
            oldest: record.oldest().map(|entry| self.id(entry)),
            newest: record.newest().map(|entry| self.id(entry)),
            closed: record.closed,
        })
    }

    /// At most `limit` channels behind this name, in the order of their names.
    pub(super) fn names_after(&self, after: Option<&str>, limit: usize) -> Vec<Channel> {
        self.channels.after(after).map(|(name, _)| name.clone()).take(limit).collect()
    }

    /// What is still to be read of a channel.
    pub(super) fn history(
        &mut self,
        key: Key<Channel>,
        after: Option<&str>,
        limit: usize,
        now: Moment,
    ) -> Vec<Arc<Entry>> {
        self.refresh(key, now);
        let Some(record) = self.channels.get(key) else { return Vec::new() };
        let from = after.and_then(|id| self.place(id, &[key]).ok()).unwrap_or(0);
        record.after(from).take(limit).cloned().collect()
    }
}
