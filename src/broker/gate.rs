//! Holding publishers back while those who read get on, and are too far behind.
//!
//! A reader that lags reads on from the recent entries. A publisher that writes as fast as it can would push
//! them out within moments, and cut off everybody, however fast they read. So whoever publishes on a channel
//! with a listener that is further behind than a quarter of the recent entries waits, before it publishes
//! more there, until that listener has got on; all publishers together for at most [`MOST`] in any
//! [`PERIOD`]. Who gets on is known to the fan-out thread (`subscribe::lag`); how far the threads themselves
//! have got is known here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::log::Log;
use super::reader::{MOST_READERS, ReaderId};
use super::{Broker, Shared};
use crate::channel::Channel;
use crate::slots::Key;

/// How long publishers wait for readers, all in all, in any [`PERIOD`].
const MOST: Duration = Duration::from_secs(1);
/// The time in which they wait no longer than that.
const PERIOD: Duration = Duration::from_secs(10);
/// After how long somebody who waits looks again, though nobody says that it is time.
const LOOK: Duration = Duration::from_millis(5);
/// Waits that follow one another this closely are noted as one.
const CLOSE: Duration = Duration::from_millis(10);
/// What is this long is not joined to what follows.
const LONG: Duration = Duration::from_millis(100);

/// Who is too far behind, as far as the log knows.
#[derive(Debug)]
pub(super) struct Gate {
    /// Up to where each reader has looked at the log.
    looked: [u64; MOST_READERS],
    /// For each reader, the channels on which somebody gets on and is too far behind.
    behind: Vec<(ReaderId, Vec<Key<Channel>>)>,
    /// Whether there may be anybody: most publishes need to know no more.
    is_any: Arc<AtomicBool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { looked: [0; MOST_READERS], behind: Vec::new(), is_any: Arc::default() }
    }
}

impl Gate {
    /// Whether each of these readers, a bit each, has looked at what is at this place.
    fn have_looked(&self, readers: u64, place: u64) -> bool {
        let mut left = readers;
        while left != 0 {
            if self.looked[left.trailing_zeros() as usize] < place {
                return false;
            }
            left &= left - 1;
        }
        true
    }

    fn set_any(&self, is_any: bool) {
        if self.is_any.load(Ordering::Relaxed) != is_any {
            self.is_any.store(is_any, Ordering::Relaxed);
        }
    }
}

impl Log {
    /// Takes note of an event on these channels.
    pub(super) fn note_for_gate(&mut self, channels: &[Key<Channel>], sequence: u64) {
        let brink = self.brink();
        for &key in channels {
            let Some(record) = self.channels.get_mut(key) else { continue };
            let readers = record.attendance.listening();
            if readers == 0 {
                continue;
            }
            if self.gate.have_looked(readers, record.unlooked) {
                record.unlooked = sequence;
            } else if record.unlooked <= brink {
                self.gate.set_any(true);
            }
        }
    }

    /// A reader looks at all there is.
    pub(super) fn note_looked(&mut self, reader: ReaderId) {
        self.gate.looked[reader] = self.head;
        self.gate.set_any(!self.gate.behind.is_empty());
    }

    /// The place behind which the newest quarter of the recent entries begins.
    pub(super) fn brink(&self) -> u64 {
        self.recent.brink(self.head)
    }

    fn is_held_back(&self, channels: &[Channel]) -> bool {
        let brink = self.brink();
        channels.iter().filter_map(|channel| self.key(channel)).any(|key| {
            let Some(record) = self.channels.get(key) else { return false };
            let lags = record.unlooked <= brink
                && !self.gate.have_looked(record.attendance.listening(), record.unlooked);
            lags || self.gate.behind.iter().any(|(_, keys)| keys.contains(&key))
        })
    }
}

/// Who waits at the gate, and how long they have.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// The same as the gate's.
    is_any: Arc<AtomicBool>,
    opened: Notify,
    spent: Mutex<Spent>,
}

/// When publishers have waited.
#[derive(Debug, Default)]
struct Spent {
    waiting: usize,
    since: Option<Instant>,
    /// When each wait of the last [`PERIOD`] ended, and how long it was.
    before: VecDeque<(Instant, Duration)>,
}

impl Spent {
    /// How long publishers may still wait.
    fn left(&mut self, now: Instant) -> Duration {
        while self.before.pop_front_if(|(end, _)| now.duration_since(*end) >= PERIOD).is_some() {}
        let before: Duration = self.before.iter().map(|(_, length)| *length).sum();
        let current = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        MOST.saturating_sub(before + current)
    }

    fn begin(&mut self, now: Instant) {
        self.waiting += 1;
        if self.waiting == 1 {
            self.since = Some(now);
        }
    }

    fn end(&mut self, now: Instant) {
        self.waiting -= 1;
        if self.waiting > 0 {
            return;
        }
        let Some(since) = self.since.take() else { return };
        let length = now.duration_since(since);
        match self.before.back_mut() {
            // Both count until the later of them is old enough.
            Some((end, before)) if since.duration_since(*end) < CLOSE && *before < LONG => {
                (*end, *before) = (now, *before + length);
            }
            _ => self.before.push_back((now, length)),
        }
    }
}

impl Waits {
    pub(super) fn at(gate: &Gate) -> Self {
        Self { is_any: Arc::clone(&gate.is_any), ..Self::default() }
    }

    /// Counts somebody who waits until this is dropped.
    fn begin(&self) -> impl Drop {
        struct Waiting<'a>(&'a Waits);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.spent.lock().end(Instant::now());
            }
        }
        self.spent.lock().begin(Instant::now());
        Waiting(self)
    }
}

impl Shared {
    /// How long publishers on these channels are held back at most from now on, if they are.
    fn held_back(&self, channels: &[Channel]) -> Option<Duration> {
        if !self.waits.is_any.load(Ordering::Relaxed) {
            return None;
        }
        let left = self.waits.spent.lock().left(Instant::now());
        (!left.is_zero() && self.lock().is_held_back(channels)).then_some(left)
    }
}

impl Broker {
    /// Whether whoever publishes on these channels has to wait for those who read there.
    pub fn holds_back(&self, channels: &[Channel]) -> bool {
        self.shared.held_back(channels).is_some()
    }

    /// Waits for those who read on these channels, as long as they get on and are too far behind.
    pub async fn turn(&self, channels: &[Channel]) {
        if self.shared.held_back(channels).is_none() {
            return;
        }
        let waits = &self.shared.waits;
        let _waiting = waits.begin();
        loop {
            let opened = waits.opened.notified();
            let Some(left) = self.shared.held_back(channels) else { return };
            let _ = tokio::time::timeout(left.min(LOOK), opened).await;
        }
    }

    /// On these channels `reader` has listeners that get on and are too far behind; on no others.
    pub fn wait_for(&self, reader: ReaderId, channels: Vec<Key<Channel>>) {
        let mut log = self.lock();
        let gate = &mut log.gate;
        gate.behind.retain(|(other, _)| *other != reader);
        if !channels.is_empty() {
            gate.behind.push((reader, channels));
        }
        gate.set_any(!gate.behind.is_empty());
        drop(log);
        self.let_on();
    }

    /// Has those look again who wait, if there is nobody to be waited for.
    pub fn let_on(&self) {
        let waits = &self.shared.waits;
        if !waits.is_any.load(Ordering::Relaxed) {
            waits.opened.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_wait_for_a_second_in_any_ten_and_no_longer() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut spent = Spent::default();
        spent.begin(at(0));
        spent.begin(at(100));
        spent.end(at(300));
        assert_eq!(spent.left(at(400)), Duration::from_millis(600), "two that wait together count once");
        spent.end(at(400));
        spent.begin(at(405));
        spent.end(at(605));
        spent.begin(at(5000));
        assert_eq!(spent.left(at(5300)), Duration::from_millis(100));
        assert_eq!(spent.left(at(6000)), Duration::ZERO);
        spent.end(at(5400));
        assert_eq!(spent.left(at(10_399)), Duration::ZERO);
        assert_eq!(spent.left(at(10_400)), Duration::from_millis(400));
        assert_eq!(spent.left(at(10_605)), Duration::from_millis(600));
        assert_eq!(spent.left(at(15_400)), MOST);
        for wait in 0..100 {
            spent.begin(at(20_000 + 6 * wait));
            spent.end(at(20_001 + 6 * wait));
        }
        assert_eq!(spent.left(at(20_600)), Duration::from_millis(900));
        assert!(spent.before.len() <= 2, "{:?}", spent.before);
    }
}
