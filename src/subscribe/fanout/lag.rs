//! Those who lag and get on: publishers wait for them, for a while (`broker::gate`).

use std::time::{Duration, Instant};

use super::subscriber::{State, Subscriber};
use super::{Client, Slot};
use crate::broker::{Broker, Entry};
use crate::channel::Channel;
use crate::slots::{Key, Slots};

/// How often it is looked how much somebody has taken.
const PERIOD: Duration = Duration::from_millis(100);
/// What it has to take in that time: 1 MiB a second.
const LEAST: f64 = (1 << 20) as f64 / 10.0;
/// While somebody is waited for, its thread looks this often whether it still gets on.
pub(in crate::subscribe) const LOOK: Duration = Duration::from_millis(20);

/// A listener that had everything, and has not at present.
#[derive(Debug)]
pub(in crate::subscribe) struct Lag {
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
pub(in crate::subscribe) struct Lagging {
    slots: Vec<Slot>,
    /// None of them has its cursor before this place.
    from: u64,
    /// The channels on which publishers are asked to wait.
    channels: Vec<Key<Channel>>,
}

impl Lagging {
    /// Whether somebody is waited for.
    pub(in crate::subscribe) fn is_waited_for(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Takes note of a subscriber that had everything, and has not any more. Nobody waits for onlookers, nor
    /// for those who do not want everything.
    pub(in crate::subscribe) fn note(&mut self, slot: Slot, subscriber: &mut Subscriber) {
        let is_listed = subscriber.lag.is_some();
        if !is_listed && subscriber.subscription.selection.is_of_listeners() && subscriber.pace().is_none() {
            subscriber.lag = Some(Box::new(Lag { since: Instant::now(), taken: 0 }));
            self.from = if self.slots.is_empty() { subscriber.subscription.cursor } else { self.from };
            self.from = self.from.min(subscriber.subscription.cursor);
            self.slots.push(slot);
        }
    }

    /// Looks who gets on and has not got beyond `brink`: the channels on which publishers are to wait, if they
    /// are others than before.
    pub(in crate::subscribe) fn look(
        &mut self,
        subscribers: &mut Slots<Subscriber, Client>,
        brink: u64,
    ) -> Option<Vec<Key<Channel>>> {
        let is_none = self.slots.is_empty() || self.from >= brink;
        if is_none && self.channels.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut from = u64::MAX;
        let mut channels: Vec<Key<Channel>> = Vec::new();
        self.slots.retain(|&slot| {
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
        self.from = from;
        channels.sort_unstable();
        channels.dedup();
        if channels == self.channels {
            return None;
        }
        self.channels.clone_from(&channels);
        Some(channels)
    }
}

/// Takes note of what somebody who lags has taken: the entries up to its cursor.
pub(in crate::subscribe) fn note_taken(subscriber: &mut Subscriber, entries: &[std::sync::Arc<Entry>]) {
    let cursor = subscriber.subscription.cursor;
    if let Some(lag) = &mut subscriber.lag {
        let taken = entries.iter().take_while(|entry| entry.sequence <= cursor);
        lag.taken += taken.map(|entry| entry.encoded.len()).sum::<usize>();
    }
}

/// How many streams that fell behind are named within [`CUTS`].
const NAMED: u64 = 10;
/// How long the others are only counted.
const CUTS: Duration = Duration::from_secs(10);

/// Streams that were cut because they fell behind.
#[derive(Debug, Default)]
pub(in crate::subscribe) struct Cuts {
    since: Option<Instant>,
    count: u64,
}

impl Cuts {
    /// Names a stream that is cut because it fell behind, unless there are too many.
    pub(in crate::subscribe) fn note(&mut self, subscriber: &Subscriber, broker: &Broker) {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= CUTS) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        if self.count <= NAMED {
            let channels = broker.names_of(&subscriber.subscription.selection);
            tracing::info!(
                client = subscriber.peer(),
                channels,
                "a client did not read fast enough and its stream was cut: the history has moved past it"
            );
        } else if self.count == NAMED + 1 {
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
