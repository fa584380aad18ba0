//! The log and its store: what the store has to be told, and what it tells at the start.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::Arc;

use smallvec::SmallVec;

use super::changes::{Changes, Portion};
use super::entry::Entry;
use super::log::{Draft, Log};
use super::moment::Moment;
use super::record::{First, Record};
use super::store::{Batch, Damaged, Row, Rows, StoredEvent, StoredKey};
use crate::channel::Channel;
use crate::event::encode::Encoded;
use crate::event::{EventId, Position};
use crate::slots::Key;

impl Log {
    /// The event of a draft as it goes to the store.
    pub(super) fn stored(&self, draft: &Draft) -> Option<StoredEvent> {
        let entry = draft.entry.as_ref()?;
        let keys: SmallVec<[Key<Channel>; 4]> =
            draft.names.iter().filter_map(|name| self.key(name)).collect();
        Some(stored(entry, draft.names.clone(), self.handed(&keys)))
    }

    /// A draft's id on the wire.
    pub(super) fn id_of(&self, draft: &Draft) -> EventId {
        draft.entry.as_ref().map_or_else(|| self.position(0), |entry| self.id(entry))
    }

    /// The channels that a draft closes or opens, if `before` is on disk by then.
    pub(super) fn rows_after(&self, draft: &Draft, before: &Rows) -> Rows {
        let mut rows = Rows::new();
        let changes_nothing = draft.entry.is_none() && !draft.close;
        if draft.is_duplicate() || changes_nothing {
            return rows;
        }
        for name in &draft.names {
            let Some(key) = self.key(name) else { continue };
            let Some(record) = self.channels.get(key) else { continue };
            let closed_before = before.get(name).map_or(record.closed, |row| row.closed);
            // The disk has to know of a channel that is new what may have been of that name before.
            let is_dirty = |changes: &Changes| changes.is_dirty(key);
            let is_back = record.newest().is_none() && self.retention.changes().is_some_and(is_dirty);
            if draft.close || is_back || closed_before {
                rows.insert(name.clone(), Row { closed: draft.close, ..Row::of(record) });
            }
        }
        rows
    }

    /// Adds rows that have waited: what has left their histories since is on disk already, or is about to be.
    pub(super) fn add_rows(&mut self, waited: Rows, rows: &mut Rows) {
        for (name, mut row) in waited {
            if let Some(record) = self.key(&name).and_then(|key| self.channels.get_mut(key)) {
                record.has_row = true;
                row.raise(record);
            } else if let Some(changes) = self.retention.changes_mut() {
                changes.note_forgotten(name.clone());
            }
            rows.insert(name, row);
        }
    }

    /// Every event up to this one is on disk, or is written in this step.
    pub(super) fn note_written(&mut self, sequence: u64) {
        if let Some(changes) = self.retention.changes_mut() {
            changes.note_written(sequence);
        }
    }

    /// What was to be written just now is not on disk, and never will be.
    pub(super) fn note_not_written(&mut self) {
        if let Some(changes) = self.retention.changes_mut() {
            changes.note_not_written();
        }
    }

    /// Whatever is not on disk of the events up to this one never will be.
    pub(super) fn note_lost(&mut self, sequence: u64) {
        if let Some(changes) = self.retention.changes_mut() {
            changes.note_lost(sequence);
        }
    }

    /// How much the store has yet to be told.
    pub(super) fn untold(&self) -> usize {
        self.retention.changes().map_or(0, Changes::len)
    }

    /// How many bytes the events had that are to be taken off the disk.
    pub(super) fn dead_bytes(&self) -> usize {
        self.retention.changes().map_or(0, Changes::dead_bytes)
    }

    /// Moves what the store has to be told into a batch, about `most` of each kind; whether there is more.
    pub(super) fn take_changes(&mut self, batch: &mut Batch, most: usize) -> bool {
        let Some(changes) = self.retention.changes_mut() else { return false };
        let Portion { channels, places, more } = changes.take(batch, most, self.channels.forgotten());
        let dirty = places.into_iter().filter_map(|place| self.channels.key_at(place));
        let keys: Vec<Key<Channel>> = channels.into_iter().chain(dirty).collect();
        for key in keys {
            let Some(record) = self.channels.get_mut(key) else { continue };
            record.has_row = true;
            // It may be there again since the portion before.
            batch.forgotten_channels.remove(&record.name);
            match batch.rows.entry(record.name.clone()) {
                // Whether it is closed is said by a publication of this batch, but that was written down
                // before its event was in the history, and perhaps gone from it.
                Occupied(mut row) => row.get_mut().raise(record),
                Vacant(row) => drop(row.insert(Row::of(record))),
            }
        }
        more
    }

    /// Takes back a batch that the store could not be told, but for its rows. Its events were never
    /// acknowledged.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let Batch { dead, dead_keys, forgotten_channels, .. } = batch;
        let Some(changes) = self.retention.changes_mut() else { return };
        changes.put_back(dead, dead_keys);
        for name in forgotten_channels {
            match self.channels.key(&name) {
                // It is there again.
                Some(key) => changes.note_dirty(key),
                None => changes.note_forgotten(name),
            }
        }
    }

    /// The rows of these channels are to be written.
    pub(super) fn note_dirty_names<'a>(&mut self, names: impl Iterator<Item = &'a Channel>) {
        let keys: Vec<Key<Channel>> = names.filter_map(|name| self.key(name)).collect();
        keys.into_iter().for_each(|key| self.note_dirty(key));
    }

    /// More is known of this channel than its events tell.
    pub(super) fn note_dirty(&mut self, key: Key<Channel>) {
        if let Some(changes) = self.retention.changes_mut() {
            changes.note_dirty(key);
        }
    }

    /// Makes the channels that the store knows more of than their events tell.
    pub(super) fn restore_channels(&mut self, rows: &[(Channel, Row)], forgotten: u64) {
        self.channels.note_forgotten(forgotten);
        if let Some(changes) = self.retention.changes_mut() {
            changes.note_told_forgotten(forgotten);
        }
        for (channel, row) in rows {
            let key = self.key_of(channel);
            if let Some(record) = self.channels.get_mut(key) {
                record.has_row = true;
                record.trimmed = row.trimmed;
                record.seen = row.seen;
            }
        }
    }

    /// Puts back an event; they, and keys without events, come in the order of their numbers.
    pub(super) fn restore(&mut self, event: StoredEvent) -> Result<(), Damaged> {
        let born = Moment::of(event.time);
        let block = std::str::from_utf8(&event.block).map_err(|_| Damaged(event.sequence))?;
        let read = Encoded::of_block(block);
        let own_id: Option<Box<str>> =
            if event.has_own_id { read.event().id().map(Into::into) } else { None };
        let encoded = match &own_id {
            Some(_) => read,
            // The epoch may be another than the one it was written in.
            None => {
                let position = Position { epoch: self.epoch.clone(), sequence: event.sequence };
                Encoded::new(&read.event(), &position)
            }
        };
        let entry = Entry {
            sequence: event.sequence,
            channels: self.keys_of_restored(&event.channels),
            encoded,
            time: event.time,
            born,
            expires: event
                .expires
                .map(|expires| born + expires.duration_since(event.time).unwrap_or_default()),
            own_id,
            dedupe: event.dedupe,
            holders: 0.into(),
            readers: 0,
        };
        self.append(&Arc::new(entry), event.handed, Moment::now());
        Ok(())
    }

    /// The channels of an event that is put back.
    fn keys_of_restored(&mut self, channels: &[Channel]) -> SmallVec<[Key<Channel>; 1]> {
        let is_new = channels.iter().any(|channel| self.key(channel).is_none());
        let keys: SmallVec<[Key<Channel>; 1]> = channels.iter().map(|channel| self.key_of(channel)).collect();
        // An event of one channel would not be here if that had been forgotten; one of several may be here
        // for another.
        if let [key] = keys[..]
            && is_new
            && let Some(record) = self.channels.get_mut(key)
        {
            record.trimmed = 0;
        }
        keys
    }

    /// Puts back the key of an event that has left the history.
    pub(super) fn restore_key(&mut self, key: StoredKey) {
        let StoredKey { sequence, channels, dedupe, own_id } = key;
        let channels = channels.iter().map(|channel| self.key_of(channel)).collect();
        let first = First { sequence, own_id };
        self.retention.remember_key_of(&mut self.channels, first, channels, dedupe, &self.settings);
    }

    /// Ends the restoring: what the store says of the whole.
    pub(super) fn finish_restoring(&mut self, rows: &[(Channel, Row)], head: u64) {
        self.head = self.head.max(head);
        self.recent.clear();
        // Not earlier: what another event replaces must not push out what stays.
        while self.keep_to_total() {}
        for (channel, row) in rows {
            if let Some(record) = self.key(channel).and_then(|key| self.channels.get_mut(key)) {
                record.closed = row.closed;
                record.seen = record.seen.max(row.seen);
            }
        }
        for key in self.channels.keys() {
            self.note_idle(key);
        }
    }
}

impl Row {
    fn of(record: &Record) -> Self {
        Self { closed: record.closed, trimmed: record.trimmed, seen: record.seen }
    }

    /// Takes on what has been handed out, and has left the history, since the row was made.
    fn raise(&mut self, record: &Record) {
        self.trimmed = self.trimmed.max(record.trimmed);
        self.seen = self.seen.max(record.seen);
    }
}

fn stored(entry: &Entry, channels: Vec<Channel>, handed: u64) -> StoredEvent {
    StoredEvent {
        sequence: entry.sequence,
        channels,
        handed,
        time: entry.time,
        expires: entry.expires.map(|expires| entry.time + expires.since(entry.born)),
        has_own_id: entry.own_id.is_some(),
        dedupe: entry.dedupe.clone(),
        block: entry.encoded.plain(),
    }
}
