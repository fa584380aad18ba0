//! The log and its store: what the store has to be told, and what it tells at the start.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::entry::Entry;
use super::history::{First, Record};
use super::log::{Draft, Log};
use super::moment::Moment;
use super::store::{Batch, Damaged, Row, StoredEvent, StoredKey};
use crate::channel::Channel;
use crate::event::encode::Encoded;
use crate::event::{EventId, Position};
use crate::slots::Key;

/// What has changed in the log since its store was last told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Events that no channel holds any more, and the channels that did.
    pub(super) dead: Vec<(u64, SmallVec<[Key; 1]>)>,
    /// How many bytes these had.
    pub(super) dead_bytes: usize,
    /// Events whose `dedupe` keys are forgotten.
    pub(super) dead_keys: Vec<u64>,
    /// Channels of which more is known than their events tell.
    pub(super) dirty: HashSet<Key>,
    /// Channels that are known no more.
    pub(super) forgotten: HashSet<Channel>,
}

impl Log {
    /// The event of a draft as it goes to the store.
    pub(super) fn stored(&self, draft: &Draft) -> Option<StoredEvent> {
        let entry = draft.entry.as_ref()?;
        let keys: SmallVec<[Key; 4]> = draft.names.iter().filter_map(|name| self.key(name)).collect();
        Some(stored(entry, draft.names.clone(), self.handed(&keys)))
    }

    /// A draft's id on the wire.
    pub(super) fn id_of(&self, draft: &Draft) -> EventId {
        draft.entry.as_ref().map_or_else(|| self.position(0), |entry| self.id(entry))
    }

    /// Adds the channels that a draft closes or opens.
    pub(super) fn rows_after(&self, draft: &Draft, rows: &mut Vec<(Channel, Row)>) {
        let changes_nothing = draft.entry.is_none() && !draft.close;
        if draft.is_duplicate() || changes_nothing {
            return;
        }
        for name in &draft.names {
            let Some(key) = self.key(name) else { continue };
            let Some(record) = self.records.get(key) else { continue };
            let closed_before = rows.iter().rfind(|(other, _)| other == name).map(|(_, row)| row.closed);
            // What the disk says of a channel that was forgotten is not true of it now; and of one that
            // is new after that it has to know that something may have been.
            let is_news = |changes: &Changes| {
                changes.forgotten.contains(name)
                    || (record.newest().is_none() && changes.dirty.contains(&key))
            };
            let is_back = self.changes.as_ref().is_some_and(is_news);
            if draft.close || is_back || closed_before.unwrap_or(record.closed) {
                let row = Row { closed: draft.close, trimmed: record.trimmed, seen: record.seen };
                rows.push((name.clone(), row));
            }
        }
    }

    /// A channel's row that has waited: what has left its history since is on disk already, or is about to be.
    pub(super) fn brought_up_to_date(&self, (name, mut row): (Channel, Row)) -> (Channel, Row) {
        if let Some(record) = self.key(&name).and_then(|key| self.records.get(key)) {
            row.raise(record);
        }
        (name, row)
    }

    /// How many events and keys are dead and not yet taken off the disk.
    pub(super) fn dead(&self) -> usize {
        self.changes.as_ref().map_or(0, |changes| changes.dead.len() + changes.dead_keys.len())
    }

    /// How many bytes those events had.
    pub(super) fn dead_bytes(&self) -> usize {
        self.changes.as_ref().map_or(0, |changes| changes.dead_bytes)
    }

    /// Moves what the store has to be told into a batch; `written` is the newest event that it has, or gets
    /// with this batch.
    pub(super) fn take_changes(&mut self, batch: &mut Batch, written: u64) {
        let Some(changes) = &mut self.changes else { return };
        let Changes { mut dead, dead_bytes: _, mut dead_keys, mut dirty, forgotten } =
            std::mem::take(changes);
        // What is still on its way to the disk can be taken off it only later.
        changes.dead.extend(dead.extract_if(.., |(sequence, _)| *sequence > written));
        changes.dead_keys.extend(dead_keys.extract_if(.., |sequence| *sequence > written));
        batch.dead_keys = dead_keys;
        for (sequence, channels) in dead {
            batch.dead.push(sequence);
            dirty.extend(channels);
        }
        dirty.extend(forgotten.iter().filter_map(|name| self.key(name)));
        for key in dirty {
            let Some(record) = self.records.get(key) else { continue };
            match batch.rows.iter_mut().rfind(|(name, _)| *name == record.name) {
                // Whether it is closed is said by a publication of this batch, but that was written down
                // before its event was in the history, and perhaps gone from it.
                Some((_, row)) => row.raise(record),
                None => {
                    let row = Row { closed: record.closed, trimmed: record.trimmed, seen: record.seen };
                    batch.rows.push((record.name.clone(), row));
                }
            }
        }
        // A channel of the same name that is there again is not forgotten.
        batch.forgotten_channels = forgotten.into_iter().filter(|name| self.key(name).is_none()).collect();
        batch.forgotten = self.forgotten;
    }

    /// Takes back what the store could not be told. Its events were never acknowledged.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let dirty: Vec<_> = batch.rows.iter().filter_map(|(name, _)| self.key(name)).collect();
        let Some(changes) = &mut self.changes else { return };
        changes.dead.extend(batch.dead.into_iter().map(|sequence| (sequence, SmallVec::new())));
        // How many bytes they had is not known any more: they are taken off at the next occasion.
        changes.dead_bytes = usize::MAX;
        changes.dead_keys.extend(batch.dead_keys);
        changes.dirty.extend(dirty);
        changes.forgotten.extend(batch.forgotten_channels);
    }

    /// Makes the channels that the store knows more of than their events tell.
    pub(super) fn restore_channels(&mut self, rows: &[(Channel, Row)], forgotten: u64) {
        self.forgotten = forgotten;
        for (channel, row) in rows {
            let key = self.key_of(channel);
            if let Some(record) = self.records.get_mut(key) {
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
    fn keys_of_restored(&mut self, channels: &[Channel]) -> SmallVec<[Key; 1]> {
        let is_new = channels.iter().any(|channel| self.key(channel).is_none());
        let keys: SmallVec<[Key; 1]> = channels.iter().map(|channel| self.key_of(channel)).collect();
        // An event of one channel would not be here if that had been forgotten; one of several may be here
        // for another.
        if let [key] = keys[..]
            && is_new
            && let Some(record) = self.records.get_mut(key)
        {
            record.trimmed = 0;
        }
        keys
    }

    /// Puts back the key of an event that has left the history.
    pub(super) fn restore_key(&mut self, key: StoredKey) {
        let StoredKey { sequence, channels, dedupe, own_id } = key;
        let channels = channels.iter().map(|channel| self.key_of(channel)).collect();
        self.remember_key_of(First { sequence, own_id }, channels, dedupe);
    }

    /// Ends the restoring: what the store says of the whole.
    pub(super) fn finish_restoring(&mut self, rows: &[(Channel, Row)], head: u64) {
        self.head = self.head.max(head);
        self.recent.clear();
        // Not earlier: what another event replaces must not push out what stays.
        self.keep_to_total();
        for (channel, row) in rows {
            if let Some(record) = self.key(channel).and_then(|key| self.records.get_mut(key)) {
                record.closed = row.closed;
                record.seen = record.seen.max(row.seen);
            }
        }
        for key in self.all_keys() {
            self.note_idle(key);
        }
    }
}

impl Row {
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
