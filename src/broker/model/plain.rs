//! What the log should do, as plainly as it can be written: lists of numbers, looked through from end
//! to end. It shares no line with the log.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Sent, Start};

pub(super) const CHANNELS: usize = 5;
/// The channel of which only the newest event is kept.
pub(super) const STATE: usize = 4;

/// What is kept: events, their weight, all channels' weight, and age and `dedupe` window in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) most: usize,
    pub(super) weight: usize,
    pub(super) total: usize,
    pub(super) age: u64,
    pub(super) window: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) sent: Sent,
    /// When it was published by the clock that nobody sets, and on the wall.
    born: u64,
    time: u64,
    /// The channels on which somebody was there to get it.
    handed: BTreeSet<usize>,
}

/// Until when a `dedupe` key is surely known, and from when on it surely is not; the first one's number.
#[derive(Clone, Debug)]
struct Key {
    number: u64,
    sure: u64,
    most: u64,
}

/// What a client is owed: whether of a gap it must (`Some(true)`) or may be told; and events.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub(super) gap: Option<bool>,
    pub(super) events: BTreeMap<u64, Claim>,
}

/// How surely a client gets an event: perhaps, unless a newer state takes its place, or for certain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Claim {
    Perhaps,
    AsState,
    Sure,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) rules: Rules,
    /// The two clocks, in milliseconds.
    pub(super) now: u64,
    pub(super) time: u64,
    /// The newest number, which an event has or an ending.
    pub(super) head: u64,
    /// Where anna was last disconnected.
    pub(super) disconnected: u64,
    /// All that were ever published in this epoch.
    pub(super) events: BTreeMap<u64, Event>,
    /// What each channel's history holds, and the newest that ever left it.
    pub(super) held: [Vec<u64>; CHANNELS],
    pub(super) left: [u64; CHANNELS],
    /// Up to where all of it has been handed to somebody.
    pub(super) seen: [u64; CHANNELS],
    pub(super) closed: [bool; CHANNELS],
    /// Channels that were closed when they were forgotten, of which the disk may still know that.
    pub(super) was_closed: [bool; CHANNELS],
    keys: BTreeMap<(usize, u8), Key>,
    /// The newest event that ever left a channel that is forgotten now.
    forgotten: u64,
}

impl Model {
    pub(super) fn new(rules: Rules, now: u64, time: u64) -> Self {
        let (held, left, seen, closed, was_closed) = Default::default();
        let (events, keys) = Default::default();
        Self {
            rules,
            now,
            time,
            head: 0,
            disconnected: 0,
            events,
            held,
            left,
            seen,
            closed,
            was_closed,
            keys,
            forgotten: 0,
        }
    }

    /// The first events with this key, and whether each is surely remembered.
    pub(super) fn first_tries(&self, sent: &Sent) -> Vec<(u64, bool)> {
        let known = |&channel: &usize| {
            let key = self.keys.get(&(channel, sent.dedupe?))?;
            let sure = self.held[channel].contains(&key.number) || self.now < key.sure;
            (sure || self.now < key.most || self.is_held(key.number)).then_some((key.number, sure))
        };
        sent.channels.iter().filter_map(known).collect()
    }

    fn is_held(&self, number: u64) -> bool {
        self.held.iter().any(|held| held.contains(&number))
    }

    /// Publishes; `listened` has the channels with subscribers.
    pub(super) fn publish(&mut self, sent: &Sent, listened: &[usize]) {
        if sent.event {
            self.head += 1;
            let handed = listened.iter().copied().collect();
            let event = Event { sent: sent.clone(), born: self.now, time: self.time, handed };
            for &channel in &sent.channels {
                let all_seen = self.held[channel].iter().all(|&number| number <= self.seen[channel]);
                let nothing_waits = channel == STATE || all_seen;
                if nothing_waits && listened.contains(&channel) {
                    self.seen[channel] = self.head;
                }
                if channel == STATE {
                    // Nobody misses what is replaced.
                    self.held[channel].clear();
                    self.left[channel] = 0;
                }
                self.held[channel].push(self.head);
                self.closed[channel] = false;
                self.was_closed[channel] = false;
                if let Some(key) = sent.dedupe {
                    let until = self.now + self.rules.window;
                    self.keys.insert(
                        (channel, key),
                        Key { number: self.head, sure: until, most: until.max(self.now + 1) },
                    );
                }
            }
            self.events.insert(self.head, event);
            sent.channels.iter().for_each(|&channel| self.trim(channel));
            while self.held.iter().map(|held| self.weight(held)).sum::<usize>() > self.rules.total {
                let oldest = self.held.iter().filter_map(|held| held.first()).min().copied().unwrap();
                let mut channels = self.events[&oldest].sent.channels.iter();
                let first = channels.find(|&&channel| self.held[channel].contains(&oldest)).unwrap();
                self.leave(*first, oldest);
            }
        }
        if sent.close {
            self.head += 1;
            sent.channels.iter().for_each(|&channel| self.closed[channel] = true);
        }
    }

    /// Ends what was accepted for anna; at which place.
    pub(super) fn disconnect_anna(&mut self) -> u64 {
        self.head += 1;
        self.disconnected = self.head;
        self.head
    }

    /// All that were ever published on a channel.
    pub(super) fn on(&self, channel: usize) -> impl Iterator<Item = u64> {
        self.events.iter().filter(move |(_, event)| event.sent.channels.contains(&channel)).map(|(&n, _)| n)
    }

    fn weight(&self, held: &[u64]) -> usize {
        held.iter().map(|number| self.events[number].sent.weight).sum()
    }

    fn leave(&mut self, channel: usize, number: u64) {
        self.held[channel].retain(|&held| held != number);
        self.left[channel] = self.left[channel].max(number);
    }

    /// Lets go of what has had its time, and then of what is beyond a channel's limits, the oldest first.
    fn trim(&mut self, channel: usize) {
        for number in self.held[channel].clone() {
            let event = &self.events[&number];
            if event.sent.ttl.is_some_and(|ttl| event.born + ttl <= self.now) {
                self.leave(channel, number);
            }
        }
        while let Some(&oldest) = self.held[channel].first()
            && (self.held[channel].len() > self.rules.most
                || self.weight(&self.held[channel]) > self.rules.weight
                || self.now - self.events[&oldest].born >= self.rules.age)
        {
            self.leave(channel, oldest);
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.time += milliseconds;
        self.sweep();
    }

    /// Lets go of what is too much by now. A key is remembered for a while after its event.
    pub(super) fn sweep(&mut self) {
        self.keep_keys(self.rules.window);
        (0..CHANNELS).for_each(|channel| self.trim(channel));
    }

    /// Notes that keys of what is held now may be known for so long yet.
    pub(super) fn keep_keys(&mut self, milliseconds: u64) {
        let held: BTreeSet<u64> = self.held.iter().flatten().copied().collect();
        for key in self.keys.values_mut().filter(|key| held.contains(&key.number)) {
            key.most = key.most.max(self.now + milliseconds);
        }
    }

    /// What a client gets that begins here.
    pub(super) fn owed(&self, channels: &[usize], from: &Start) -> Owed {
        let all = || self.held_after(channels, 0);
        let claim = |channel: usize, number: u64| match channel {
            STATE => Some(Claim::AsState),
            _ if !self.events[&number].handed.contains(&channel) => Some(Claim::Sure),
            _ => (number > self.seen[channel]).then_some(Claim::Perhaps),
        };
        let resume =
            |place| Owed { gap: self.gap(channels, place), events: self.held_after(channels, place) };
        match *from {
            Start::Live => Owed::default(),
            Start::All => Owed { gap: None, events: all() },
            Start::Newest(count) => {
                let events: Vec<_> = all().into_iter().collect();
                let newest = &events[events.len().saturating_sub(count)..];
                Owed { gap: None, events: newest.iter().copied().collect() }
            }
            Start::Unseen => {
                let mut events = BTreeMap::new();
                for &channel in channels {
                    for &number in &self.held[channel] {
                        if let Some(claim) = claim(channel, number) {
                            let so_far = events.entry(number).or_insert(claim);
                            *so_far = claim.max(*so_far);
                        }
                    }
                }
                Owed { gap: None, events }
            }
            Start::After { epochs_ago: 0, number } if number <= self.head => resume(number),
            Start::Own(id) if let Some(place) = self.place_of(channels, id) => resume(place),
            _ => Owed { gap: Some(true), events: all() },
        }
    }

    pub(super) fn held_after(&self, channels: &[usize], place: u64) -> BTreeMap<u64, Claim> {
        let by =
            |n| claim_by(channels.iter().copied().filter(move |&channel| self.held[channel].contains(n)));
        let held = channels.iter().flat_map(|&channel| &self.held[channel]);
        held.filter(|&&number| number > place).map(|number| (*number, by(number))).collect()
    }

    /// The oldest event in these histories with this id of its publisher's.
    fn place_of(&self, channels: &[usize], id: u8) -> Option<u64> {
        self.held_after(channels, 0).into_keys().find(|n| self.events[n].sent.own_id == Some(id))
    }

    /// A client must be told if something after its place is nowhere any more, and may be told if it has
    /// left one of its channels' histories.
    fn gap(&self, channels: &[usize], place: u64) -> Option<bool> {
        let is_held = |number| channels.iter().any(|&channel| self.held[channel].contains(&number));
        let is_missing = |channel: usize, number: u64| {
            number > place && !is_held(number) && (channel != STATE || !self.is_replaced(number))
        };
        if channels.iter().any(|&channel| self.on(channel).any(|number| is_missing(channel, number))) {
            return Some(true);
        }
        channels.iter().any(|&channel| self.left[channel] > place).then_some(false)
    }

    /// Whether there is a newer state.
    pub(super) fn is_replaced(&self, number: u64) -> bool {
        self.on(STATE).any(|newer| newer > number)
    }

    /// Notes that a client gets all of this.
    pub(super) fn hand_out(&mut self, channels: &[usize], from: &Start, owed: &Owed) {
        for &channel in channels {
            let place = match from {
                Start::Live | Start::Newest(_) => owed.events.keys().next().map_or(self.head, |n| n - 1),
                Start::Unseen if channel == STATE => 0,
                Start::Unseen => self.seen[channel],
                Start::After { epochs_ago: 0, number } if *number <= self.head => *number,
                Start::Own(id) => self.place_of(channels, *id).unwrap_or(0),
                _ => 0,
            };
            if place <= self.seen[channel] {
                self.seen[channel] = self.head;
            }
            for (_, event) in self.events.range_mut(place + 1..) {
                event.handed.insert(channel);
            }
        }
    }

    /// Forgets a channel that nobody has used for long.
    pub(super) fn forget(&mut self, channel: usize) {
        self.was_closed[channel] |= std::mem::take(&mut self.closed[channel]);
        self.seen[channel] = 0;
        self.forgotten = self.forgotten.max(self.left[channel]);
        self.keys.iter_mut().filter(|(key, _)| key.0 == channel).for_each(|(_, key)| key.sure = 0);
    }

    /// Whether something that left a channel was forgotten with it.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten > 0
    }

    /// Notes that a channel is new: whatever was forgotten may have been of one of this name.
    pub(super) fn begin(&mut self, channel: usize) {
        self.left[channel] = self.left[channel].max(self.forgotten);
    }

    /// Whether an event may be back after a clean restart: it was still on disk, as another channel holds
    /// it or its key is remembered.
    pub(super) fn may_be_back(&self, number: u64) -> bool {
        self.is_held(number) || self.keys.values().any(|key| key.number == number)
    }

    /// Goes on with what a history really holds. What had left it and is back may be handed out as unseen, but
    /// nobody is owed it.
    pub(super) fn adopt(&mut self, channel: usize, held: Vec<u64>) {
        for number in held.iter().filter(|number| !self.held[channel].contains(number)) {
            if let Some(event) = self.events.get_mut(number) {
                event.handed.insert(channel);
            }
        }
        for number in std::mem::replace(&mut self.held[channel], held.clone()) {
            if !held.contains(&number) {
                self.left[channel] = self.left[channel].max(number);
            }
        }
    }

    /// Starts again from what is on disk, which counts ages by the clock on the wall.
    pub(super) fn restart(&mut self, now: u64, time: u64) {
        (self.now, self.time) = (now, time);
        // Nobody who asked before is there any more.
        self.disconnected = 0;
        for event in self.events.values_mut() {
            event.born = now - time.saturating_sub(event.time).min(now);
        }
        for key in self.keys.values_mut() {
            key.most = now + self.rules.window;
        }
        self.sweep();
    }
}

/// The claim of someone who gets an event by these channels.
pub(super) fn claim_by(mut channels: impl Iterator<Item = usize>) -> Claim {
    if channels.all(|channel| channel == STATE) { Claim::AsState } else { Claim::Sure }
}
