//! The channels there are: by name and by key, and which of them may be forgotten.

use std::collections::VecDeque;

use super::history::Record;
use super::names::Names;
use super::settings::Terms;
use crate::channel::Channel;
use crate::slots::{Key, Slots};

/// Channels without past and subscribers that are still known, so that a client that was there is
/// told the truth about what it missed. Older ones are forgotten.
const MOST_IDLE: usize = 10_000;

/// The channels there are.
#[derive(Debug, Default)]
pub(super) struct Channels {
    names: Names,
    records: Slots<Record, Channel>,
    /// Those that may be forgotten, the longest idle first.
    idle: VecDeque<Key<Channel>>,
    /// The newest event that left a channel which was then forgotten.
    forgotten: u64,
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

    /// Makes one that does not exist. Whatever was forgotten may have been of a channel of this name.
    pub(super) fn insert(&mut self, name: &Channel, terms: Terms) -> Key<Channel> {
        let key = self.records.insert(Record::new(name.clone(), terms, self.forgotten));
        self.names.insert(name.clone(), key);
        key
    }

    /// The newest event that left a channel which was then forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
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
        self.idle.push_back(key);
        self.idle.len() > MOST_IDLE
    }

    /// Forgets the channel that has been idle for longest, but none that is `wanted` just now; its record, if
    /// there was one.
    pub(super) fn forget_longest_idle(&mut self, wanted: &[Channel]) -> Option<Record> {
        for _ in 0..self.idle.len() {
            let key = self.idle.pop_front()?;
            let Some(record) = self.records.get_mut(key) else { continue };
            if wanted.contains(&record.name) {
                self.idle.push_back(key);
                continue;
            }
            record.idle = false;
            if !record.is_idle() {
                continue;
            }
            self.note_forgotten(self.records.get(key)?.trimmed);
            let record = self.records.remove(key)?;
            self.names.remove(&record.name);
            return Some(record);
        }
        None
    }
}
