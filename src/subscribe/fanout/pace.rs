//! `max_rate`: a subscriber that gets the newest state so often and no more.

use std::sync::Arc;

use bytes::Bytes;

use super::wheel::Tick;
use crate::broker::{Entry, Selection};
use crate::event::encode::Encoded;
use crate::event::{Epoch, Position};

/// What one subscriber's limited channels hold back.
#[derive(Debug)]
pub(in crate::subscribe) struct Pace {
    /// In the order of the selection's channels.
    channels: Box<[Limited]>,
    /// The place of the newest event that went.
    sent: u64,
}

#[derive(Clone, Debug)]
struct Limited {
    /// When the next event may go.
    next: Tick,
    /// The newest event that has not.
    held: Option<Arc<Entry>>,
}

impl Pace {
    /// For a subscriber of this selection, if any of its channels is limited.
    pub(in crate::subscribe) fn of(selection: &Selection) -> Option<Self> {
        let limited = Limited { next: Tick::default(), held: None };
        let channels = vec![limited; selection.rates.len()].into_boxed_slice();
        (!channels.is_empty()).then_some(Self { channels, sent: 0 })
    }

    /// Takes what a read brought; gives what may go now, in the order of the log. With `all`,
    /// nothing is held back: the stream is about to end, and its last state counts.
    pub(in crate::subscribe) fn pass(
        &mut self,
        selection: &Selection,
        entries: Vec<Arc<Entry>>,
        now: Tick,
        all: bool,
    ) -> Vec<Arc<Entry>> {
        let mut passed = Vec::new();
        for entry in entries {
            match self.limit_on(selection, &entry) {
                Some(index) => self.channels[index].held = Some(entry),
                None => passed.push(entry),
            }
        }
        for (limited, rate) in self.channels.iter_mut().zip(&selection.rates) {
            if (all || limited.next <= now)
                && let Some(entry) = limited.held.take()
            {
                limited.next = rate.map_or(now, |rate| now.after(rate.interval));
                passed.push(entry);
            }
        }
        passed.sort_by_key(|entry| entry.sequence);
        passed
    }

    /// The limited channel of an entry, unless it is also on one without limit.
    fn limit_on(&self, selection: &Selection, entry: &Entry) -> Option<usize> {
        let mut limit = None;
        for (index, channel) in selection.channels.iter().enumerate() {
            if entry.channels.contains(channel) {
                selection.rates[index]?;
                limit = Some(index);
            }
        }
        limit
    }

    /// When the next held event may go.
    pub(in crate::subscribe) fn due(&self) -> Tick {
        let held = self.channels.iter().filter(|limited| limited.held.is_some());
        held.map(|limited| limited.next).min().unwrap_or(Tick::NEVER)
    }

    /// The bytes of an entry that goes now. With its own id on an entry that goes after later ones,
    /// the client, cut off now, would come back to a place it has passed; so that one gets the id
    /// of the place where the client is.
    pub(in crate::subscribe) fn encode(&mut self, entry: &Entry, epoch: &Epoch, chunked: bool) -> Bytes {
        if entry.sequence > self.sent {
            self.sent = entry.sequence;
            return entry.encoded.bytes(chunked);
        }
        let here = Position { epoch: epoch.clone(), sequence: self.sent };
        Encoded::new(&entry.encoded.event(), &here).bytes(chunked)
    }
}
