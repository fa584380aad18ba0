//! Those who lag and get on: publishers wait for them, for a while (`broker::gate`).

use std::time::{Duration, Instant};

use super::end::End;
use super::subscriber::{Slot, State, Subscriber};
use super::worker::Worker;
use crate::broker::Entry;
use crate::channel::Channel;
use crate::slots::Key;

/// How often it is looked how much somebody has taken.
const PERIOD: Duration = Duration::from_millis(100);
/// What it has to take in that time: 1 MiB a second.
const LEAST: f64 = (1 << 20) as f64 / 10.0;
/// While somebody is waited for, its thread looks this often whether it still gets on.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A listener that had everything, and has not at present.
#[derive(Debug)]
pub(super) struct Lag {
    since: Instant,
    /// How many bytes it has taken since.
    taken: usize,
}

impl Lag {
    fn gets_on(&mut self, now: Instant) -> bool {
        let periods = now.duration_since(self.since).as_secs_f64() / PERIOD.as_secs_f64();
        if periods < 1.0 {
            return true;
        }
        let gets_on = self.taken as f64 >= LEAST * periods;
        (self.since, self.taken) = (now, 0);
        gets_on
    }
}

/// Who lags on one fan-out thread.
#[derive(Debug, Default)]
pub(super) struct Lagging {
    slots: Vec<Slot>,
    /// None of them has its cursor before this place.
    from: u64,
    /// The channels on which publishers are asked to wait.
    channels: Vec<Key<Channel>>,
}

impl Lagging {
    /// Whether somebody is waited for.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Takes note of a subscriber that had everything, and has not any more. Nobody waits for onlookers, nor
    /// for those who do not want everything.
    pub(super) fn note(&mut self, slot: Slot, subscriber: &mut Subscriber) {
        let is_listed = subscriber.lag.is_some();
        if !is_listed && subscriber.subscription.selection.is_of_listeners() && subscriber.pace().is_none() {
            subscriber.lag = Some(Box::new(Lag { since: Instant::now(), taken: 0 }));
            self.from = if self.slots.is_empty() { subscriber.subscription.cursor } else { self.from };
            self.from = self.from.min(subscriber.subscription.cursor);
            self.slots.push(slot);
        }
    }
}

/// Takes note of what somebody who lags has taken: the entries up to its cursor.
pub(super) fn note_taken(subscriber: &mut Subscriber, entries: &[std::sync::Arc<Entry>]) {
    let cursor = subscriber.subscription.cursor;
    if let Some(lag) = &mut subscriber.lag {
        let taken = entries.iter().take_while(|entry| entry.sequence <= cursor);
        lag.taken += taken.map(|entry| entry.encoded.len()).sum::<usize>();
    }
}

impl Worker {
    /// Asks publishers to wait for those who get on and have not got beyond `brink`.
    pub(super) fn look_after_lagging(&mut self, brink: u64) {
        let Self { lagging, subscribers, .. } = self;
        let is_none = lagging.slots.is_empty() || lagging.from >= brink;
        if is_none && lagging.channels.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut from = u64::MAX;
        let mut channels: Vec<Key<Channel>> = Vec::new();
        lagging.slots.retain(|&slot| {
            let Some(subscriber) = subscribers.get_mut(slot) else { return false };
            let cursor = subscriber.subscription.cursor;
            let Some(lag) = &mut subscriber.lag else { return false };
            let stays = subscriber.state != State::Live && (cursor >= brink || lag.gets_on(now));
            if !stays {
                subscriber.lag = None;
                return false;
            }
            if cursor < brink {
                channels.extend(&subscriber.subscription.selection.channels);
            }
            from = from.min(cursor);
            true
        });
        lagging.from = from;
        channels.sort_unstable();
        channels.dedup();
        if channels != lagging.channels {
            lagging.channels.clone_from(&channels);
            self.broker.wait_for(self.reader, channels);
        }
    }
}

/// How many streams that fell behind are named within [`CUTS`].
const NAMED: u64 = 10;
/// How long the others are only counted.
const CUTS: Duration = Duration::from_secs(10);

/// Streams that were cut because they fell behind.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    since: Option<Instant>,
    count: u64,
}

impl Worker {
    /// Names a stream that is cut because it fell behind, unless there are too many, and counts it.
    pub(super) fn note_cut(&mut self, slot: Slot, end: End) {
        if end != End::FellBehind {
            return;
        }
        let Some(subscriber) = self.subscribers.get(slot) else { return };
        self.metrics.fell_behind.add_one();
        let now = Instant::now();
        let cuts = &mut self.cuts;
        if cuts.since.is_none_or(|since| now.duration_since(since) >= CUTS) {
            *cuts = Cuts { since: Some(now), count: 0 };
        }
        cuts.count += 1;
        if cuts.count <= NAMED {
            let channels = self.broker.names_of(&subscriber.subscription.selection);
            tracing::info!(
                client = subscriber.peer(),
                channels,
                "a client did not read fast enough and its stream was cut: the history has moved past it"
            );
        } else if cuts.count == NAMED + 1 {
            tracing::info!(within = ?CUTS, "more streams are cut for that; they are counted only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_a_mebibyte_a_second_gets_on() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut lag = Lag { since: start, taken: 0 };

        assert!(lag.gets_on(at(99)), "it has a moment");
        lag.taken = 110_000;
        assert!(lag.gets_on(at(100)));
        assert!(lag.gets_on(at(150)));
        lag.taken = 110_000;
        assert!(!lag.gets_on(at(400)), "that was in 300 ms");
        assert!(!Lag { since: start, taken: 0 }.gets_on(at(20_000)), "it never took anything");
    }
}
