//! How the log stays within its bounds: what leaves the histories, and which channels and keys are
//! forgotten.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Log;
use crate::broker::entry::Entry;
use crate::broker::history::{First, Record};
use crate::broker::moment::Moment;
use crate::broker::store::DeadEvent;
use crate::channel::Channel;
use crate::slots::Key;

/// Channels without past and subscribers that are still known, so that a client that was there is
/// told the truth about what it missed. Older ones are forgotten.
const MOST_IDLE: usize = 10_000;
/// Events whose `dedupe` keys are remembered.
const MOST_REMEMBERED: usize = 1 << 20;
/// How many of these are looked at while publishers wait.
const REMEMBERED_AT_ONCE: usize = 1024;
/// How many events are let go to keep to a bound while everybody else waits.
const TRIMMED_AT_ONCE: usize = 512;
/// From how many bytes on an entry is freed when nobody waits for the log.
const LARGE: usize = 64 << 10;
/// How many of these may wait for that.
const MOST_LARGE: usize = 64;
/// How many channels are looked at while everybody else waits.
const SWEPT_AT_ONCE: usize = 250;

/// An event with a `dedupe` key, without its bytes: the key outlives them.
#[derive(Debug)]
pub(super) struct Remembered {
    /// When to look whether the key can be forgotten.
    due: Moment,
    sequence: u64,
    channels: SmallVec<[Key<Channel>; 1]>,
    dedupe: Box<str>,
}

impl Log {
    /// Takes note of entries that have each left one history.
    pub(super) fn note_gone(&mut self, mut gone: Vec<Arc<Entry>>) {
        for entry in gone.drain(..) {
            let is_last = entry.holders.fetch_sub(1, Ordering::Relaxed) == 1;
            if !is_last {
                continue;
            }
            self.lingering += entry.dedupe.as_ref().map_or(0, |key| bytes_of_key(key, &entry.channels));
            if let Some(changes) = &mut self.changes {
                let (sequence, channels) = (entry.sequence, entry.channels.clone());
                changes.note_dead(DeadEvent { sequence, channels, bytes: entry.encoded.len() });
            }
            note_large(&mut self.large, entry);
        }
        self.gone = gone;
    }

    /// The large entries that have left, to be freed when the log is not locked.
    pub(in crate::broker) fn take_large(&mut self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.large)
    }

    pub(super) fn remember(
        &mut self,
        sequence: u64,
        channels: SmallVec<[Key<Channel>; 1]>,
        dedupe: Box<str>,
        now: Moment,
    ) {
        let due = now + self.settings.dedupe_window;
        self.remembered.push_back(Remembered { due, sequence, channels, dedupe });
    }

    /// Puts back the key of an event that has left the history.
    pub(in crate::broker) fn remember_key_of(
        &mut self,
        first: First,
        channels: SmallVec<[Key<Channel>; 1]>,
        dedupe: Box<str>,
    ) {
        for &key in &channels {
            if let Some(record) = self.records.get_mut(key) {
                record.remember_key(&dedupe, first.clone());
            }
        }
        self.lingering += bytes_of_key(&dedupe, &channels);
        self.remember(first.sequence, channels, dedupe, Moment::now());
    }

    /// Lets the oldest events of all go until their bytes are within the bound that is configured, but not
    /// too many in one go; whether there are more.
    pub(in crate::broker) fn keep_to_total(&mut self) -> bool {
        self.trim_total(self.settings.total_bytes)
    }

    /// How many bytes all histories have together.
    pub(in crate::broker) fn total(&self) -> usize {
        self.total
    }

    /// Lets the oldest events of all go until their bytes are within a bound, but not too many in one go;
    /// whether there are more.
    pub(in crate::broker) fn trim_total(&mut self, bound: usize) -> bool {
        if self.total <= bound {
            return false;
        }
        let mut gone = std::mem::take(&mut self.gone);
        for _ in 0..TRIMMED_AT_ONCE {
            if self.total <= bound {
                break;
            }
            let Some(Reverse((sequence, _, key))) = self.oldest.pop() else { break };
            let Some(record) = self.records.get_mut(key) else { continue };
            record.in_heap = false;
            let Some(oldest) = record.oldest().map(|entry| entry.sequence) else { continue };
            if oldest == sequence {
                self.total -= record.drop_oldest(&mut gone);
            }
            if let Some(place) = record.oldest_place(key) {
                record.in_heap = true;
                self.oldest.push(Reverse(place));
            }
            self.note_idle(key);
        }
        self.note_gone(gone);
        self.total > bound && !self.oldest.is_empty()
    }

    /// Brings a channel's past up to date with the clock.
    pub(in crate::broker) fn refresh(&mut self, key: Key<Channel>, now: Moment) -> Option<&mut Record> {
        let mut gone = std::mem::take(&mut self.gone);
        if let Some(record) = self.records.get_mut(key) {
            self.total -= record.trim(now, &mut gone);
        }
        self.note_gone(gone);
        self.records.get_mut(key)
    }

    /// If nothing is left of a channel and nobody listens, it may be forgotten some day.
    pub(in crate::broker) fn note_idle(&mut self, key: Key<Channel>) {
        let Some(record) = self.records.get_mut(key) else { return };
        if record.idle || !record.is_idle() {
            return;
        }
        record.idle = true;
        self.idle.push_back(key);
        if self.idle.len() > MOST_IDLE {
            self.forget_longest_idle(&[]);
        }
    }

    /// Forgets the channel that has been idle for longest, but none that is `wanted` just now; whether
    /// there was one.
    pub(super) fn forget_longest_idle(&mut self, wanted: &[Channel]) -> bool {
        for _ in 0..self.idle.len() {
            let Some(key) = self.idle.pop_front() else { return false };
            let Some(record) = self.records.get_mut(key) else { continue };
            if wanted.contains(&record.name) {
                self.idle.push_back(key);
                continue;
            }
            record.idle = false;
            if !record.is_idle() {
                continue;
            }
            self.forgotten = self.forgotten.max(record.trimmed);
            if let Some(record) = self.records.remove(key) {
                self.names.remove(&record.name);
                if let Some(changes) = &mut self.changes
                    && record.has_row
                {
                    changes.note_forgotten(record.name);
                }
            }
            self.compact_heap();
            return true;
        }
        false
    }

    /// The heap may hold places of channels that are gone; not many more than there are channels.
    pub(super) fn compact_heap(&mut self) {
        if self.oldest.len() > 2 * self.records.len() + 1024 {
            self.oldest.retain(|Reverse((_, _, key))| self.records.get(*key).is_some());
        }
    }

    /// Forgets `dedupe` keys whose window is over and whose events are gone.
    pub(in crate::broker) fn forget_keys(&mut self, now: Moment) {
        for _ in 0..self.remembered.len().min(REMEMBERED_AT_ONCE) {
            let many = self.remembered.len() > MOST_REMEMBERED || self.lingering > self.settings.key_bytes();
            if !many && self.remembered.front().is_none_or(|event| event.due > now) {
                return;
            }
            let Some(mut event) = self.remembered.pop_front() else { return };
            let holds = |&key| self.records.get(key).is_some_and(|record| record.holds(event.sequence));
            if event.channels.iter().any(holds) {
                event.due = now + self.settings.dedupe_window;
                self.remembered.push_back(event);
                continue;
            }
            for &key in &event.channels {
                if let Some(record) = self.records.get_mut(key) {
                    record.forget_key(&event.dedupe, event.sequence);
                }
            }
            self.lingering = self.lingering.saturating_sub(bytes_of_key(&event.dedupe, &event.channels));
            if let Some(changes) = &mut self.changes {
                changes.note_dead_key(event.sequence);
            }
        }
    }

    /// Lets time pass for some of the channels, and the next time for the next.
    pub(in crate::broker) fn sweep(&mut self, now: Moment) {
        let (keys, next) = self.records.walk(self.swept, SWEPT_AT_ONCE);
        self.swept = next;
        for key in keys {
            self.refresh(key, now);
            self.note_idle(key);
        }
    }
}

/// Lets go of an entry; later, if it takes its time to be freed and there are not too many of those.
pub(super) fn note_large(large: &mut Vec<Arc<Entry>>, entry: Arc<Entry>) {
    if entry.encoded.len() >= LARGE && large.len() < MOST_LARGE {
        large.push(entry);
    }
}

/// About how many bytes a `dedupe` key takes, here and on disk.
fn bytes_of_key(dedupe: &str, channels: &[Key<Channel>]) -> usize {
    96 + dedupe.len() + 32 * channels.len()
}
