//! The channels there are: by name and by key, and which of them may be forgotten.

use std::collections::{HashMap, VecDeque};

use super::names::Names;
use super::record::Record;
use super::settings::Terms;
use crate::channel::Channel;
use crate::slots::{Key, Slots};

/// Channels without past and subscribers that are still known, so that a client that was there is
/// told the truth about what it missed. Older ones are forgotten.
const MOST_IDLE: usize = 10_000;

/// Channels that were forgotten of which it is still known what had left them: somebody whose stream has ended
/// may not have read it to its end. Of older ones the newest of all stands for each.
const MOST_FORGOTTEN: usize = 4096;

/// The channels there are.
#[derive(Debug, Default)]
pub(super) struct Channels {
    names: Names,
    records: Slots<Record, Channel>,
    /// Those that may be forgotten, the longest idle first: those to which nothing was ever published, and the
    /// others.
    idle: [VecDeque<Key<Channel>>; 2],
    /// To how many nothing was ever published.
    unpublished: usize,
    /// The newest event that left a channel which was then forgotten.
    forgotten: u64,
    /// The newest event that had left each of those that were forgotten last, and their order.
    lately: (HashMap<Key<Channel>, u64>, VecDeque<Key<Channel>>),
}

impl Channels {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The channel of this name.
    pub(super) fn key(&self, name: &Channel) -> Option<Key<Channel>> {
        self.names.get(name)
    }

    /// A channel's record.
    pub(super) fn get(&self, key: Key<Channel>) -> Option<&Record> {
        self.records.get(key)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: Key<Channel>) -> Option<&mut Record> {
        self.records.get_mut(key)
    }

    /// All of them.
    pub(super) fn keys(&self) -> Vec<Key<Channel>> {
        self.records.keys()
    }

    /// The channel that has this place now.
    pub(super) fn key_at(&self, place: usize) -> Option<Key<Channel>> {
        self.records.key_at(place)
    }

    /// Those at up to `count` places from place `from` on, and the place to go on at; 0 after the last.
    pub(super) fn walk(&self, from: usize, count: usize) -> (Vec<Key<Channel>>, usize) {
        self.records.walk(from, count)
    }

    /// All behind this name, in the order of their names.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&Channel, Key<Channel>)> {
        self.names.after(name)
    }

    /// To how many nothing was ever published: they are there only because somebody listens, or did.
    pub(super) fn unpublished(&self) -> usize {
        self.unpublished
    }

    /// Something is published to this one, or was.
    pub(super) fn note_published(&mut self, key: Key<Channel>) {
        if let Some(record) = self.records.get_mut(key)
            && !std::mem::replace(&mut record.is_published, true)
        {
            self.unpublished -= 1;
        }
    }

    /// Makes one that does not exist, and to which nothing was published. Whatever was forgotten may have been of a channel of this name.
    pub(super) fn insert(&mut self, name: &Channel, terms: Terms) -> Key<Channel> {
        let key = self.records.insert(Record::new(name.clone(), terms, self.forgotten));
        self.names.insert(name.clone(), key);
        self.unpublished += 1;
        key
    }

    /// The newest event that left a channel which was then forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The newest event that has left a channel's history, be the channel there or not. It is not too low, and
    /// exact but for channels that were forgotten long ago.
    pub(super) fn trimmed(&self, key: Key<Channel>) -> u64 {
        let forgotten = || self.lately.0.get(&key).copied().unwrap_or(self.forgotten);
        self.records.get(key).map_or_else(forgotten, |record| record.trimmed)
    }

    fn note_lately(&mut self, key: Key<Channel>, trimmed: u64) {
        let (places, order) = &mut self.lately;
        places.insert(key, trimmed);
        order.push_back(key);
        if order.len() > MOST_FORGOTTEN
            && let Some(oldest) = order.pop_front()
        {
            places.remove(&oldest);
        }
    }

    /// Notes what was forgotten before all this was read.
    pub(super) fn note_forgotten(&mut self, sequence: u64) {
        self.forgotten = self.forgotten.max(sequence);
    }

    /// If nothing is left of a channel and nobody is there, it may be forgotten some day. Whether there are
    /// too many of these.
    pub(super) fn note_idle(&mut self, key: Key<Channel>) -> bool {
        let Some(record) = self.records.get_mut(key) else { return false };
        if record.idle || !record.is_idle() {
            return false;
        }
        record.idle = true;
        self.idle[usize::from(record.is_published)].push_back(key);
        self.idle.iter().map(VecDeque::len).sum::<usize>() > MOST_IDLE
    }

    /// Forgets a channel that is idle, but none that is `wanted` just now; its record, if there was one. First
    /// one to which nothing was ever published, for nothing is known of it; then the one that has been idle
    /// for longest.
    pub(super) fn forget_longest_idle(&mut self, wanted: &[Channel]) -> Option<Record> {
        self.forget_unpublished(wanted).or_else(|| self.forget_one(true, wanted))
    }

    /// Forgets one of those to which nothing was ever published.
    pub(super) fn forget_unpublished(&mut self, wanted: &[Channel]) -> Option<Record> {
        self.forget_one(false, wanted)
    }

    fn forget_one(&mut self, is_published: bool, wanted: &[Channel]) -> Option<Record> {
        let queue = usize::from(is_published);
        for _ in 0..self.idle[queue].len() {
            let key = self.idle[queue].pop_front()?;
            let Some(record) = self.records.get_mut(key) else { continue };
            if wanted.contains(&record.name) {
                self.idle[queue].push_back(key);
                continue;
            }
            record.idle = false;
            if record.is_published != is_published {
                // It waits in the other queue from now on.
                self.note_idle(key);
                continue;
            }
            if !record.is_idle() {
                continue;
            }
            let record = self.records.remove(key)?;
            self.note_forgotten(record.trimmed);
            self.note_lately(key, record.trimmed);
            self.names.remove(&record.name);
            self.unpublished -= usize::from(!record.is_published);
            return Some(record);
        }
        None
    }
}
