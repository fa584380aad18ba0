//! Holding publishers back while those who read get on, and are too far behind.
//!
//! A reader that lags reads on from the recent entries. A publisher that writes as fast as it can would push
//! them out within moments, and cut off everybody, however fast they read. So whoever publishes on a channel
//! with a listener that is further behind than a quarter of the recent entries waits, before it publishes
//! more there, until that listener has got on; all publishers together for at most [`MOST`] in any
//! [`PERIOD`]. Who gets on is known to the fan-out thread (`subscribe::fanout::lag`); how far the threads themselves
//! have got is known here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::channels::Channels;
use super::reader::{MOST_READERS, ReaderId};
use crate::channel::Channel;
use crate::slots::Key;

/// How long publishers wait for readers, all in all, in any [`PERIOD`].
const MOST: Duration = Duration::from_secs(1);
/// The time in which they wait no longer than that.
const PERIOD: Duration = Duration::from_secs(10);
/// After how long somebody who waits looks again, though nobody says that it is time.
pub(super) const LOOK: Duration = Duration::from_millis(5);
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

    /// Takes note of an event on these channels, of which those behind `brink` would soon be pushed out.
    pub(super) fn note(&mut self, channels: &mut Channels, keys: &[Key<Channel>], sequence: u64, brink: u64) {
        for &key in keys {
            let Some(record) = channels.get_mut(key) else { continue };
            let readers = record.attendance.listening();
            if readers == 0 {
                continue;
            }
            if self.have_looked(readers, record.unlooked) {
                record.unlooked = sequence;
            } else if record.unlooked <= brink {
                self.set_any(true);
            }
        }
    }

    /// A reader looks at all there is.
    pub(super) fn note_looked(&mut self, reader: ReaderId, head: u64) {
        self.looked[reader] = head;
        self.set_any(!self.behind.is_empty());
    }

    /// On these channels the reader has listeners that get on and are too far behind; on no others.
    pub(super) fn note_behind(&mut self, reader: ReaderId, channels: Vec<Key<Channel>>) {
        self.behind.retain(|(other, _)| *other != reader);
        if !channels.is_empty() {
            self.behind.push((reader, channels));
        }
        self.set_any(!self.behind.is_empty());
    }

    /// Whether somebody on this channel is too far behind.
    pub(super) fn holds_back(&self, channels: &Channels, key: Key<Channel>, brink: u64) -> bool {
        let Some(record) = channels.get(key) else { return false };
        let lags =
            record.unlooked <= brink && !self.have_looked(record.attendance.listening(), record.unlooked);
        lags || self.behind.iter().any(|(_, keys)| keys.contains(&key))
    }

    fn set_any(&self, is_any: bool) {
        if self.is_any.load(Ordering::Relaxed) != is_any {
            self.is_any.store(is_any, Ordering::Relaxed);
        }
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

    /// How long publishers may still be held back, if there may be anybody to wait for.
    pub(super) fn left(&self) -> Option<Duration> {
        if !self.is_any.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.spent.lock().left(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Ready when it is time to look again.
    pub(super) fn opened(&self) -> Notified<'_> {
        self.opened.notified()
    }

    /// Has those look again who wait, if there is nobody to be waited for.
    pub(super) fn let_on(&self) {
        if !self.is_any.load(Ordering::Relaxed) {
            self.opened.notify_waiters();
        }
    }

    /// Counts somebody who waits until this is dropped.
    pub(super) fn begin(&self) -> impl Drop {
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
