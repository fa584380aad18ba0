//! What is kept for how long: the bounds over all histories, the `dedupe` keys, and what has left, which is
//! freed when nobody waits and told to the store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::changes::Changes;
use super::channels::Channels;
use super::entry::Entry;
use super::moment::Moment;
use super::record::{First, Record};
use super::settings::Settings;
use super::store::DeadEvent;
use crate::channel::Channel;
use crate::slots::Key;

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

/// What is kept of the histories together, and what has left them. All changes are made with the channels at
/// hand, whose histories these are.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Bytes in all histories.
    total: usize,
    /// Each channel with a past, by its oldest event or an earlier place, and by which of that event's
    /// channels it is: a restart finds the same order.
    oldest: BinaryHeap<Reverse<(u64, usize, Key<Channel>)>>,
    /// Events with `dedupe` keys, the first to be looked at first.
    remembered: VecDeque<Remembered>,
    /// About how many bytes the keys take that have outlived their events.
    lingering: usize,
    /// Entries that have just left a history; empty but for the time of a change.
    gone: Vec<Arc<Entry>>,
    /// Large entries that are to be freed when nobody waits for the log.
    large: Vec<Arc<Entry>>,
    /// What a store has yet to be told, if there is one.
    changes: Option<Changes>,
}

/// An event with a `dedupe` key, without its bytes: the key outlives them.
#[derive(Debug)]
struct Remembered {
    /// When to look whether the key can be forgotten.
    due: Moment,
    sequence: u64,
    channels: SmallVec<[Key<Channel>; 1]>,
    dedupe: Box<str>,
}

impl Retention {
    /// With a store that has to be told, or without.
    pub(super) fn new(changes: Option<Changes>) -> Self {
        Self { changes, ..Self::default() }
    }

    /// How many bytes all histories have together.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// What a store has yet to be told, if there is one.
    pub(super) fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn changes_mut(&mut self) -> Option<&mut Changes> {
        self.changes.as_mut()
    }

    /// Adds an event to its channels' histories; their bytes together may then be too many. `handed` has a
    /// bit for each of the channels on which somebody listens.
    pub(super) fn push(&mut self, channels: &mut Channels, entry: &Arc<Entry>, handed: u64, now: Moment) {
        entry.holders.store(entry.channels.len() as u32, Ordering::Relaxed);
        let mut gone = std::mem::take(&mut self.gone);
        for (index, &key) in entry.channels.iter().enumerate() {
            let Some(record) = channels.get_mut(key) else { continue };
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
        self.note_gone(gone);
    }

    /// Takes note of entries that have each left one history.
    fn note_gone(&mut self, mut gone: Vec<Arc<Entry>>) {
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
            self.let_go(entry);
        }
        self.gone = gone;
    }

    /// Lets go of an entry; later, if it takes its time to be freed and there are not too many of those.
    pub(super) fn let_go(&mut self, entry: Arc<Entry>) {
        if entry.encoded.len() >= LARGE && self.large.len() < MOST_LARGE {
            self.large.push(entry);
        }
    }

    /// The large entries that have left, to be freed when the log is not locked.
    pub(super) fn take_large(&mut self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.large)
    }

    /// Remembers an event's `dedupe` key for a while.
    pub(super) fn remember(
        &mut self,
        sequence: u64,
        channels: SmallVec<[Key<Channel>; 1]>,
        dedupe: Box<str>,
        now: Moment,
        settings: &Settings,
    ) {
        let due = now + settings.dedupe_window;
        self.remembered.push_back(Remembered { due, sequence, channels, dedupe });
    }

    /// Puts back the key of an event that has left the history.
    pub(super) fn remember_key_of(
        &mut self,
        channels: &mut Channels,
        first: First,
        keys: SmallVec<[Key<Channel>; 1]>,
        dedupe: Box<str>,
        settings: &Settings,
    ) {
        for &key in &keys {
            if let Some(record) = channels.get_mut(key) {
                record.remember_key(&dedupe, first.clone());
            }
        }
        self.lingering += bytes_of_key(&dedupe, &keys);
        self.remember(first.sequence, keys, dedupe, Moment::now(), settings);
    }

    /// Lets the oldest events of all go until their bytes are within a bound, but not too many in one go;
    /// whether there are more.
    pub(super) fn trim_total(&mut self, channels: &mut Channels, bound: usize) -> bool {
        if self.total <= bound {
            return false;
        }
        let mut gone = std::mem::take(&mut self.gone);
        for _ in 0..TRIMMED_AT_ONCE {
            if self.total <= bound {
                break;
            }
            let Some(Reverse((sequence, _, key))) = self.oldest.pop() else { break };
            let Some(record) = channels.get_mut(key) else { continue };
            record.in_heap = false;
            let Some(oldest) = record.oldest().map(|entry| entry.sequence) else { continue };
            if oldest == sequence {
                self.total -= record.drop_oldest(&mut gone);
            }
            if let Some(place) = record.oldest_place(key) {
                record.in_heap = true;
                self.oldest.push(Reverse(place));
            }
            self.note_idle(channels, key);
        }
        self.note_gone(gone);
        self.total > bound && !self.oldest.is_empty()
    }

    /// Brings a channel's past up to date with the clock.
    pub(super) fn refresh(&mut self, channels: &mut Channels, key: Key<Channel>, now: Moment) {
        let mut gone = std::mem::take(&mut self.gone);
        if let Some(record) = channels.get_mut(key) {
            self.total -= record.trim(now, &mut gone);
        }
        self.note_gone(gone);
    }

    /// If nothing is left of a channel and nobody is there, it may be forgotten some day.
    pub(super) fn note_idle(&mut self, channels: &mut Channels, key: Key<Channel>) {
        if channels.note_idle(key) {
            self.forget_longest_idle(channels, &[]);
        }
    }

    /// Forgets the channel that has been idle for longest, but none that is `wanted` just now; whether
    /// there was one.
    pub(super) fn forget_longest_idle(&mut self, channels: &mut Channels, wanted: &[Channel]) -> bool {
        let forgotten = channels.forget_longest_idle(wanted);
        self.note_forgotten(channels, forgotten)
    }

    /// The same, but only one to which nothing was ever published.
    pub(super) fn forget_unpublished(&mut self, channels: &mut Channels, wanted: &[Channel]) -> bool {
        let forgotten = channels.forget_unpublished(wanted);
        self.note_forgotten(channels, forgotten)
    }

    fn note_forgotten(&mut self, channels: &Channels, record: Option<Record>) -> bool {
        let Some(record) = record else { return false };
        if let Some(changes) = &mut self.changes
            && record.has_row
        {
            changes.note_forgotten(record.name);
        }
        // The heap may hold places of channels that are gone; not many more than there are channels.
        if self.oldest.len() > 2 * channels.len() + 1024 {
            self.oldest.retain(|Reverse((_, _, key))| channels.get(*key).is_some());
        }
        true
    }

    /// Forgets `dedupe` keys whose window is over and whose events are gone.
    pub(super) fn forget_keys(&mut self, channels: &mut Channels, now: Moment, settings: &Settings) {
        for _ in 0..self.remembered.len().min(REMEMBERED_AT_ONCE) {
            let many = self.remembered.len() > MOST_REMEMBERED || self.lingering > settings.key_bytes();
            if !many && self.remembered.front().is_none_or(|event| event.due > now) {
                return;
            }
            let Some(mut event) = self.remembered.pop_front() else { return };
            let holds = |&key| channels.get(key).is_some_and(|record| record.holds(event.sequence));
            if event.channels.iter().any(holds) {
                event.due = now + settings.dedupe_window;
                self.remembered.push_back(event);
                continue;
            }
            for &key in &event.channels {
                if let Some(record) = channels.get_mut(key) {
                    record.forget_key(&event.dedupe, event.sequence);
                }
            }
            self.lingering = self.lingering.saturating_sub(bytes_of_key(&event.dedupe, &event.channels));
            if let Some(changes) = &mut self.changes {
                changes.note_dead_key(event.sequence);
            }
        }
    }
}

/// About how many bytes a `dedupe` key takes, here and on disk.
fn bytes_of_key(dedupe: &str, channels: &[Key<Channel>]) -> usize {
    96 + dedupe.len() + 32 * channels.len()
}
