//! One channel: its past, within limits, and who listens.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::attendance::Attendance;
use super::entry::Entry;
use super::moment::Moment;
use super::settings::{Keep, Terms};
use crate::channel::Channel;
use crate::slots::Key;

/// A channel as the log keeps it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Channel,
    pub(super) terms: Terms,
    /// The history, in the order of the log.
    events: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The number of the newest event that has left the history although somebody may want it: a
    /// client that was at an earlier place has a gap.
    pub(super) trimmed: u64,
    /// In which order they left.
    pub(super) left: Left,
    /// Every event up to here was handed to some subscriber, or is gone.
    pub(super) seen: u64,
    /// The number of the newest event that was ever published here, and when that was: kept beside the
    /// event, which lies far off.
    last: u64,
    last_born: Moment,
    pub(super) closed: bool,
    /// Whether the heap of oldest events knows this channel.
    pub(super) in_heap: bool,
    /// The first event here that not every fan-out thread with a listener here has looked at, or an earlier
    /// one; see `gate`.
    pub(super) unlooked: u64,
    /// Whether something was ever published here; else it is there only because somebody listened.
    pub(super) is_published: bool,
    /// Whether the store may have a row of it.
    pub(super) has_row: bool,
    /// Whether it waits among the idle to be forgotten.
    pub(super) idle: bool,
    /// Before this no event is too old: most publishes need not look at the oldest one, which lies far off.
    fresh_until: Moment,
    /// Whether an event may be older than one before it: the clock was set back before they were read from
    /// disk.
    is_mixed: bool,
    /// The soonest that an event's own `ttl` ends.
    next_ttl: Option<Moment>,
    rare: Option<Box<Rare>>,
    /// Who is there.
    pub(super) attendance: Attendance,
}

/// The events that have left a history, as far as they matter: of those that have left since some moment,
/// the newest.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// How many there have been.
    count: u64,
    /// Each that is newer than all that left after it, with the count then. Events leave in their order
    /// but for those with a `ttl`, so this is one, or a few.
    newest: SmallVec<[(u64, u64); 1]>,
}

/// The most that are told apart; beyond, the oldest two count as the newer of them, and as having left
/// when the later did.
const MOST_LEFT: usize = 64;

impl Left {
    fn note(&mut self, sequence: u64) {
        self.count += 1;
        while self.newest.last().is_some_and(|&(_, other)| other <= sequence) {
            self.newest.pop();
        }
        self.newest.push((self.count, sequence));
        if self.newest.len() > MOST_LEFT {
            let (_, newest) = self.newest.remove(0);
            self.newest[0].1 = newest;
        }
    }

    /// How many have left by now.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The newest that has left since so many had; 0 if none has.
    pub(super) fn since(&self, count: u64) -> u64 {
        let left = self.newest.iter().find(|&&(at, _)| at > count);
        left.map_or(0, |&(_, sequence)| sequence)
    }
}

/// What most channels do not have.
#[derive(Debug, Default)]
struct Rare {
    /// Publishers' own ids, with the places they are at, oldest first.
    own_ids: HashMap<Box<str>, VecDeque<u64>>,
    /// Keys of second tries, with the first one's place.
    dedupe: HashMap<Box<str>, First>,
}

/// The first event published with a `dedupe` key.
#[derive(Clone, Debug)]
pub(super) struct First {
    pub(super) sequence: u64,
    pub(super) own_id: Option<Box<str>>,
}

impl Record {
    pub(super) fn new(name: Channel, terms: Terms, trimmed: u64) -> Self {
        Self {
            name,
            terms,
            events: VecDeque::new(),
            bytes: 0,
            trimmed,
            left: Left::default(),
            seen: 0,
            last: 0,
            last_born: Moment::LONG_AGO,
            closed: false,
            in_heap: false,
            unlooked: 0,
            is_published: false,
            has_row: false,
            idle: false,
            fresh_until: Moment::NEVER,
            is_mixed: false,
            next_ttl: None,
            rare: None,
            attendance: Attendance::default(),
        }
    }

    /// Takes on other terms.
    pub(super) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
        self.look_at_oldest();
    }

    fn look_at_oldest(&mut self) {
        let max_age = self.terms.limits.max_age;
        let oldest = if self.is_mixed {
            self.events.iter().map(|entry| entry.born).min()
        } else {
            self.events.front().map(|entry| entry.born)
        };
        self.fresh_until = oldest.map_or(Moment::NEVER, |born| born + max_age);
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<&Arc<Entry>> {
        self.events.front()
    }

    /// The oldest event's number, which of its channels this one is, and this one's key.
    pub(super) fn oldest_place(&self, key: Key<Channel>) -> Option<(u64, usize, Key<Channel>)> {
        let oldest = self.events.front()?;
        let index = oldest.channels.iter().position(|&other| other == key);
        Some((oldest.sequence, index.unwrap_or(0), key))
    }

    pub(super) fn newest(&self) -> Option<&Arc<Entry>> {
        self.events.back()
    }

    /// The events after a place, oldest first.
    pub(super) fn after(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        let from = self.events.partition_point(|entry| entry.sequence <= sequence);
        self.events.range(from..)
    }

    /// Whether nothing is left of it, and nobody is there.
    pub(super) fn is_idle(&self) -> bool {
        self.events.is_empty() && self.attendance.is_empty()
    }

    /// Takes note of an event that is about to be added: if somebody listens, it counts as seen,
    /// unless earlier ones still wait to be. Those, and it after them, are then for the next client
    /// that asks for what is unseen.
    ///
    /// Returns whether it counts as seen only since what waited has left: another channel may hold that, and
    /// after a restart it would be back and wait again.
    pub(super) fn note_handed(&mut self, sequence: u64, handed: bool) -> bool {
        let is_last_seen = self.last <= self.seen;
        // The newest event that is left is only asked if it may be another than the newest that ever was.
        let is_seen = is_last_seen || self.newest().is_none_or(|newest| newest.sequence <= self.seen);
        let nothing_waits = is_seen || self.terms.keep == Keep::Latest;
        self.last = sequence;
        if nothing_waits && handed {
            self.seen = self.seen.max(sequence);
        }
        is_seen && handed && !is_last_seen
    }

    /// Adds the newest event; what then is too much leaves for `gone`. Returns by how much `bytes` grew.
    pub(super) fn push(&mut self, entry: &Arc<Entry>, now: Moment, gone: &mut Vec<Arc<Entry>>) -> isize {
        let before = self.bytes;
        if self.terms.keep == Keep::Latest {
            // Nobody misses a state that a newer one replaces, so this is no trimming.
            while let Some(entry) = self.events.pop_front() {
                self.forget(&entry);
                gone.push(entry);
            }
            if self.trimmed < entry.sequence {
                self.trimmed = 0;
            }
        }
        self.remember(entry);
        self.is_mixed |= entry.born < self.last_born;
        self.last_born = entry.born;
        self.fresh_until = self.fresh_until.min(entry.born + self.terms.limits.max_age);
        self.bytes += entry.encoded.len();
        self.events.push_back(Arc::clone(entry));
        self.trim(now, gone);
        self.bytes as isize - before as isize
    }

    fn remember(&mut self, entry: &Entry) {
        if let Some(id) = &entry.own_id {
            let rare = self.rare.get_or_insert_default();
            rare.own_ids.entry(id.clone()).or_default().push_back(entry.sequence);
        }
        if let Some(key) = &entry.dedupe {
            self.remember_key(key, First { sequence: entry.sequence, own_id: entry.own_id.clone() });
        }
        if let Some(expires) = entry.expires {
            self.next_ttl = Some(self.next_ttl.map_or(expires, |next| next.min(expires)));
        }
    }

    /// Remembers the first event published with a key.
    pub(super) fn remember_key(&mut self, dedupe: &str, first: First) {
        self.rare.get_or_insert_default().dedupe.insert(dedupe.into(), first);
    }

    /// Lets go of what is kept beside an event that leaves. Its `dedupe` key stays until
    /// [`Record::forget_key`].
    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.encoded.len();
        let (Some(id), Some(rare)) = (&entry.own_id, &mut self.rare) else { return };
        if let Some(places) = rare.own_ids.get_mut(id) {
            // It is the oldest that leaves, unless its `ttl` was shorter than theirs.
            if places.front() == Some(&entry.sequence) {
                places.pop_front();
            } else {
                places.retain(|&place| place != entry.sequence);
            }
            if places.is_empty() {
                rare.own_ids.remove(id);
            }
        }
    }

    /// Lets events leave for `gone` until all limits hold. Returns by how much `bytes` shrank.
    pub(super) fn trim(&mut self, now: Moment, gone: &mut Vec<Arc<Entry>>) -> usize {
        let before = self.bytes;
        let limits = self.terms.limits;
        // First, so that what is over pushes nothing out.
        if self.next_ttl.is_some_and(|next| next <= now) {
            self.expire(now, gone);
        }
        while let Some(oldest) = self.events.front() {
            // On disk an event outlasts its time as a state while another channel holds it.
            let is_stale = self.terms.keep == Keep::Latest && oldest.sequence <= self.trimmed;
            let fits = !is_stale
                && self.events.len() <= limits.max_events
                && self.bytes <= limits.max_bytes
                && (now < self.fresh_until || now.since(oldest.born) < limits.max_age);
            if fits {
                break;
            }
            self.drop_oldest(gone);
        }
        if self.fresh_until <= now {
            self.look_at_oldest();
        }
        before - self.bytes
    }

    /// Lets the oldest event leave for `gone`. Returns its bytes.
    pub(super) fn drop_oldest(&mut self, gone: &mut Vec<Arc<Entry>>) -> usize {
        let Some(entry) = self.events.pop_front() else { return 0 };
        self.note_left(&entry);
        self.forget(&entry);
        let bytes = entry.encoded.len();
        gone.push(entry);
        bytes
    }

    fn note_left(&mut self, entry: &Entry) {
        self.trimmed = self.trimmed.max(entry.sequence);
        self.left.note(entry.sequence);
    }

    /// Whether a state that is kept alone has been replaced.
    pub(super) fn has_replaced(&self, sequence: u64) -> bool {
        self.terms.keep == Keep::Latest && sequence < self.last
    }

    fn expire(&mut self, now: Moment, gone: &mut Vec<Arc<Entry>>) {
        let is_over = |entry: &Entry| entry.expires.is_some_and(|expires| expires <= now);
        let (over, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.events).into_iter().partition(|entry| is_over(entry));
        self.next_ttl = kept.iter().filter_map(|entry| entry.expires).min();
        self.events = kept;
        for entry in over {
            self.note_left(&entry);
            self.forget(&entry);
            gone.push(entry);
        }
    }

    /// The oldest place in the history of an event published with this id.
    pub(super) fn place_of(&self, own_id: &str) -> Option<u64> {
        self.rare.as_ref()?.own_ids.get(own_id)?.front().copied()
    }

    /// The first event published with this key, if it is remembered.
    pub(super) fn first(&self, dedupe: &str) -> Option<&First> {
        self.rare.as_ref()?.dedupe.get(dedupe)
    }

    /// Whether the history holds the event at this place.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.events.binary_search_by_key(&sequence, |entry| entry.sequence).is_ok()
    }

    /// Forgets the `dedupe` key of an event that is no longer held.
    pub(super) fn forget_key(&mut self, dedupe: &str, sequence: u64) {
        let Some(rare) = &mut self.rare else { return };
        if rare.dedupe.get(dedupe).is_some_and(|first| first.sequence == sequence) {
            rare.dedupe.remove(dedupe);
        }
        if rare.dedupe.is_empty() && rare.own_ids.is_empty() {
            self.rare = None;
        }
    }
}
