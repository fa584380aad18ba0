//! What has changed in the log since its store was last told.
//!
//! Nothing here grows with how long the store is busy or ill: what is counted by channels is bounded by the
//! channels, what is counted by events by the events that are on disk or on their way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::store::{Batch, DeadEvent};
use crate::channel::Channel;
use crate::slots::Key;

/// The most names that are remembered as forgotten: more than there are channels by default.
const MOST_FORGOTTEN: usize = 1 << 17;

/// What the store has yet to be told.
#[derive(Debug)]
pub(super) struct Changes {
    /// The newest event that is on disk, or is written just now.
    written: u64,
    /// What that was before.
    written_before: u64,
    /// Every event up to here is on disk or never will be.
    settled: u64,
    /// What is on disk and no longer wanted there.
    dead: VecDeque<Dead>,
    /// How many bytes the events among these had.
    dead_bytes: usize,
    /// What is no longer wanted although it is still on its way to the disk; the key's own number is 1.
    early: BTreeMap<(u64, u8), Dead>,
    /// Channels of which more is known than their events tell.
    dirty: Places,
    /// Channels that are known no more, and may have a row on disk.
    forgotten: BTreeSet<Channel>,
    /// Whether there were once too many of these: any name may have a row on disk.
    any_has_row: bool,
    /// What the store knows of the newest event that left a channel which was then forgotten.
    told_forgotten: u64,
}

#[derive(Debug)]
enum Dead {
    Event(DeadEvent),
    /// The `dedupe` key of an event.
    Key(u64),
}

/// What one turn takes for the store: some of each kind.
pub(super) struct Portion {
    /// Channels whose rows are to be written in the same step.
    pub(super) channels: Vec<Key<Channel>>,
    /// Places whose channels are different now.
    pub(super) places: Vec<usize>,
    /// Whether there is more.
    pub(super) more: bool,
}

impl Default for Changes {
    /// For a log that is read from its store: all of it is there.
    fn default() -> Self {
        Self {
            written: u64::MAX,
            written_before: u64::MAX,
            settled: u64::MAX,
            dead: VecDeque::new(),
            dead_bytes: 0,
            early: BTreeMap::new(),
            dirty: Places::default(),
            forgotten: BTreeSet::new(),
            any_has_row: false,
            told_forgotten: 0,
        }
    }
}

impl Changes {
    /// No channel holds this event any more.
    pub(super) fn note_dead(&mut self, event: DeadEvent) {
        self.note((event.sequence, 0), Dead::Event(event));
    }

    /// The `dedupe` key of this event is forgotten.
    pub(super) fn note_dead_key(&mut self, sequence: u64) {
        self.note((sequence, 1), Dead::Key(sequence));
    }

    fn note(&mut self, (sequence, kind): (u64, u8), dead: Dead) {
        if sequence <= self.written {
            self.bury(dead);
        } else if sequence > self.settled {
            self.early.insert((sequence, kind), dead);
        }
    }

    fn bury(&mut self, dead: Dead) {
        if let Dead::Event(event) = &dead {
            self.dead_bytes += event.bytes;
        }
        self.dead.push_back(dead);
    }

    /// Every event up to this one is on disk, or is written in this step.
    pub(super) fn note_written(&mut self, sequence: u64) {
        self.written_before = self.written;
        (self.written, self.settled) = (sequence, sequence);
        while let Some(dead) = self.settle_next() {
            self.bury(dead);
        }
    }

    /// What was to be written just now is not on disk, and never will be.
    pub(super) fn note_not_written(&mut self) {
        self.written = self.written_before;
    }

    /// Everything up to this event that is not on disk never will be.
    pub(super) fn note_lost(&mut self, sequence: u64) {
        self.settled = self.settled.max(sequence);
        while self.settle_next().is_some() {}
    }

    fn settle_next(&mut self) -> Option<Dead> {
        let next = self.early.first_entry().filter(|next| next.key().0 <= self.settled);
        next.map(|next| next.remove())
    }

    /// More is known of this channel than its events tell.
    pub(super) fn note_dirty(&mut self, key: Key<Channel>) {
        self.dirty.insert(key.index());
    }

    pub(super) fn is_dirty(&self, key: Key<Channel>) -> bool {
        self.dirty.contains(key.index())
    }

    /// A channel that may have a row on disk is known no more.
    pub(super) fn note_forgotten(&mut self, name: Channel) {
        if self.forgotten.len() < MOST_FORGOTTEN {
            self.forgotten.insert(name);
        } else {
            // It is there again after a restart, and forgotten then.
            self.any_has_row = true;
        }
    }

    /// A channel is known from now on; whether the disk may have a row of one that was forgotten.
    pub(super) fn note_known(&mut self, name: &Channel) -> bool {
        self.forgotten.remove(name) || self.any_has_row
    }

    /// The store says that this is the newest event that left a channel which was then forgotten.
    pub(super) fn note_told_forgotten(&mut self, sequence: u64) {
        self.told_forgotten = sequence;
    }

    /// How much there is to tell.
    pub(super) fn len(&self) -> usize {
        self.dead.len() + self.dirty.len() + self.forgotten.len()
    }

    /// How many bytes the events had that are to be taken off the disk.
    pub(super) fn dead_bytes(&self) -> usize {
        self.dead_bytes
    }

    /// Moves about `most` of each kind into a batch. `forgotten` is the newest event that left a channel
    /// which was then forgotten: what is taken off the disk may be known by that alone.
    pub(super) fn take(&mut self, batch: &mut Batch, most: usize, forgotten: u64) -> Portion {
        let mut channels: Vec<Key<Channel>> = Vec::new();
        let mut taken = 0;
        while taken < most
            && let Some(dead) = self.dead.pop_front()
        {
            taken += 1;
            match dead {
                Dead::Key(sequence) => batch.dead_keys.push(sequence),
                Dead::Event(event) => {
                    taken += event.channels.len();
                    self.dead_bytes -= event.bytes;
                    channels.extend(&event.channels);
                    batch.dead.push(event);
                }
            }
        }
        let places = std::iter::from_fn(|| self.dirty.pop()).take(most).collect();
        let names: Vec<Channel> = std::iter::from_fn(|| self.forgotten.pop_first()).take(most).collect();
        let more = !self.dead.is_empty() || self.dirty.len() > 0 || names.len() == most;
        // A row that this step writes is taken off the disk by a later one.
        let (later, now) = names.into_iter().partition(|name| batch.rows.contains_key(name));
        self.forgotten.extend::<Vec<_>>(later);
        batch.forgotten_channels.extend::<Vec<_>>(now);
        if self.told_forgotten != forgotten {
            self.told_forgotten = forgotten;
            batch.forgotten = Some(forgotten);
        }
        Portion { channels, places, more }
    }

    /// Takes back what the store could not be told, but for its rows; not what it never had.
    pub(super) fn put_back(&mut self, dead: Vec<DeadEvent>, dead_keys: Vec<u64>) {
        dead.into_iter().for_each(|event| self.note_dead(event));
        dead_keys.into_iter().for_each(|sequence| self.note_dead_key(sequence));
        // It is told again.
        self.told_forgotten = 0;
    }
}

/// Places of channels, each once, the first to come first. There are never more than places, whatever
/// becomes of the channels that are there.
#[derive(Debug, Default)]
struct Places {
    queue: VecDeque<usize>,
    queued: Vec<bool>,
}

impl Places {
    fn insert(&mut self, place: usize) {
        if self.queued.len() <= place {
            self.queued.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.queued[place], true) {
            self.queue.push_back(place);
        }
    }

    fn contains(&self, place: usize) -> bool {
        self.queued.get(place).is_some_and(|&queued| queued)
    }

    fn pop(&mut self) -> Option<usize> {
        let place = self.queue.pop_front()?;
        self.queued[place] = false;
        Some(place)
    }

    fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::slots::Slots;

    fn dead(sequence: u64, channels: &[Key<Channel>]) -> DeadEvent {
        DeadEvent { sequence, channels: channels.into(), bytes: 100 }
    }

    #[test]
    fn a_portion_is_no_more_than_was_asked_for_however_much_there_is() {
        let mut slots = Slots::default();
        let mut changes = Changes::default();
        let keys: Vec<Key<Channel>> = (0..100_000).map(|n| slots.insert(n)).collect();
        for (sequence, &key) in (1..).zip(&keys) {
            changes.note_dirty(key);
            changes.note_dirty(key);
            changes.note_dead(dead(sequence, &[key]));
            changes.note_forgotten(Channel::parse(&format!("c{sequence}")).unwrap());
        }

        let mut portions = 0;
        loop {
            let mut batch = Batch::default();
            let portion = changes.take(&mut batch, 500, 0);
            assert!(batch.dead.len() <= 500 && portion.channels.len() <= 500);
            assert!(portion.places.len() <= 500 && batch.forgotten_channels.len() <= 500);
            portions += 1;
            if !portion.more {
                break;
            }
        }

        assert_eq!((changes.len(), changes.dead_bytes()), (0, 0));
        assert!((200..=401).contains(&portions), "{portions}");
    }

    #[test]
    fn what_never_got_to_the_disk_need_not_be_taken_off_it() {
        let mut changes = Changes::default();
        changes.note_written(10);
        changes.note_dead(dead(7, &[]));
        changes.note_dead(dead(11, &[]));
        changes.note_dead_key(12);
        changes.note_dead(dead(13, &[]));

        changes.note_lost(12);
        changes.note_dead(dead(12, &[]));

        assert_eq!(changes.len(), 1, "the one that is on disk");
        changes.note_written(13);
        let mut batch = Batch::default();
        changes.take(&mut batch, 500, 0);
        assert_eq!(batch.dead.iter().map(|event| event.sequence).collect::<Vec<_>>(), [7, 13]);

        changes.note_written(20);
        changes.note_not_written();
        batch.dead.push(dead(20, &[]));
        changes.put_back(batch.dead, batch.dead_keys);
        assert_eq!(changes.len(), 2, "what was not written is not there");
    }

    #[test]
    fn while_the_disk_fails_names_that_come_and_go_do_not_pile_up() {
        let (mut slots, mut changes) = (Slots::default(), Changes::default());
        changes.note_written(0);
        for round in 1..=300_000 {
            let key = slots.insert(());
            changes.note_dirty(key);
            changes.note_dead(DeadEvent { sequence: round, channels: smallvec![key], bytes: 1 });
            changes.note_lost(round);
            changes.note_forgotten(Channel::parse(&format!("c{round}")).unwrap());
            slots.remove(key);
        }

        assert!(changes.len() <= MOST_FORGOTTEN + 1, "{}", changes.len());
        assert!(changes.note_known(&Channel::parse("any").unwrap()), "who was not noted may be any");
    }
}
