//! What is new for a group, as bytes that are put together once and written to each of its members.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::subscriber::{Subscriber, Written};
use super::wheel::Tick;
use crate::broker::Entry;
use crate::event::Epoch;

/// Pieces are put together up to this size, in bytes; a larger entry is a piece of its own.
const PIECE: usize = 64 << 10;

/// Consecutive entries as bytes made once for a whole group.
pub(in crate::subscribe) struct Piece<'a> {
    entries: &'a [&'a Arc<Entry>],
    /// Several entries in one; a single one has its bytes.
    chunked: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
}

impl Piece<'_> {
    fn bytes(&self, chunked: bool) -> &[u8] {
        match self.entries {
            [entry] => entry.encoded.as_slice(chunked),
            _ => self.joined(chunked),
        }
    }

    fn joined(&self, chunked: bool) -> &Bytes {
        let made = if chunked { &self.chunked } else { &self.plain };
        made.get_or_init(|| {
            let mut joined = BytesMut::with_capacity(PIECE.min(64 * self.entries.len()));
            for entry in self.entries {
                joined.extend_from_slice(entry.encoded.as_slice(chunked));
            }
            joined.freeze()
        })
    }

    /// The entry in which `taken` bytes end, and what is left of it.
    fn cut(&self, taken: usize, chunked: bool) -> Option<(&Arc<Entry>, Bytes)> {
        let mut end = 0;
        let entry = self.entries.iter().find(|entry| {
            end += entry.encoded.as_slice(chunked).len();
            taken <= end
        })?;
        let bytes = match self.entries {
            [entry] => entry.encoded.bytes(chunked),
            _ => self.joined(chunked).clone(),
        };
        Some((entry, bytes.slice(taken..end)))
    }
}

/// Entries in pieces that are worth a call each.
pub(in crate::subscribe) fn pieces<'a>(entries: &'a [&'a Arc<Entry>]) -> SmallVec<[Piece<'a>; 1]> {
    let mut pieces = SmallVec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut size = 0;
        let fitting = rest.iter().take_while(|entry| {
            size += entry.encoded.len();
            size <= PIECE
        });
        let (piece, after) = rest.split_at(fitting.count().max(1));
        pieces.push(Piece { entries: piece, chunked: OnceLock::new(), plain: OnceLock::new() });
        rest = after;
    }
    pieces
}

/// Writes what is new to a live subscriber. If the socket does not take all, the cursor is set to
/// the last entry of which it took a part.
pub(in crate::subscribe) fn write_pieces(subscriber: &mut Subscriber, pieces: &[Piece<'_>]) -> Written {
    let chunked = subscriber.is_chunked();
    // Behind the entry before the first: nothing in between concerns this group.
    let mut done = pieces.first().map_or(0, |piece| piece.entries[0].sequence - 1);
    for piece in pieces {
        match subscriber.write(piece.bytes(chunked)) {
            Written::All => done = piece.entries[piece.entries.len() - 1].sequence,
            Written::Gone => return Written::Gone,
            Written::Part(taken) => {
                if taken > 0
                    && let Some((entry, left)) = piece.cut(taken, chunked)
                {
                    done = entry.sequence;
                    subscriber.keep(left);
                }
                subscriber.subscription.cursor = done;
                return Written::Part(taken);
            }
        }
    }
    Written::All
}

/// Writes what a read brought to a subscriber with a `max_rate`, as far as it may go now: how that went, and how
/// many entries it were.
pub(in crate::subscribe) fn write_paced(
    subscriber: &mut Subscriber,
    entries: Vec<Arc<Entry>>,
    now: Tick,
    all: bool,
    epoch: &Epoch,
) -> (Written, usize) {
    let selection = Arc::clone(&subscriber.subscription.selection);
    let chunked = subscriber.is_chunked();
    let Some(pace) = subscriber.pace() else { return (Written::All, 0) };
    let passed = pace.pass(&selection, entries, now, all);
    let mut bytes = BytesMut::new();
    for entry in &passed {
        bytes.extend_from_slice(&pace.encode(entry, epoch, chunked));
    }
    (subscriber.write_or_keep(bytes.freeze()), passed.len())
}
