//! A client on its way to a fan-out thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::fanout::{Extras, Held, Pace, Subscriber};
use super::initial::Manner;
use super::promises::Bond;
use crate::broker::{ReaderId, Subscription};

/// A client on its way to a fan-out thread.
pub(super) struct Newcomer {
    /// Who delivers to it.
    pub(super) reader: ReaderId,
    /// Whether its bytes go in HTTP/1.1 chunks.
    pub(super) chunked: bool,
    /// Silence after which it gets a comment.
    pub(super) keep_alive: Duration,
    pub(super) bond: Option<Bond>,
    pub(super) seat: Seat,
}

impl Newcomer {
    /// How it is written to until then; `stall` is how long it may take nothing.
    pub(super) fn manner(&self, stall: Duration) -> Manner {
        Manner { chunked: self.chunked, stall, pause: self.keep_alive }
    }

    /// What the thread keeps of it; `unsent` is written first.
    pub(super) fn into_subscriber(
        self,
        socket: Held,
        subscription: Subscription,
        unsent: Bytes,
    ) -> Box<Subscriber> {
        let Self { chunked, keep_alive, bond, seat, reader: _ } = self;
        let extras = Extras { bond: bond.map(Into::into), pace: Pace::of(&subscription.selection) };
        Box::new(Subscriber::new(socket, subscription, chunked, unsent, keep_alive, extras, seat))
    }
}

/// A place among the clients; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// A place among `taken`, of which there are `most`; `None` when all are.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let one_more = |taken: usize| (taken < most).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
