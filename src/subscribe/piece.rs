//! What is new for a group, as bytes that are put together once and written to each of its members.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

use super::subscriber::{Subscriber, Written};
use crate::broker::Entry;

/// Pieces are put together up to this size, in bytes; a larger entry is a piece of its own.
const PIECE: usize = 64 << 10;

/// Consecutive entries as bytes made once for a whole group.
pub(super) struct Piece<'a> {
    entries: &'a [&'a Arc<Entry>],
    framed: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
}

impl Piece<'_> {
    fn bytes(&self, framed: bool) -> &Bytes {
        let made = if framed { &self.framed } else { &self.plain };
        made.get_or_init(|| match self.entries {
            [entry] => entry.encoded.bytes(framed),
            entries => {
                let mut joined = BytesMut::with_capacity(PIECE.min(64 * entries.len()));
                for entry in entries {
                    joined.extend_from_slice(&entry.encoded.bytes(framed));
                }
                joined.freeze()
            }
        })
    }

    /// The entry in which `taken` bytes end, and where it ends.
    fn cut(&self, taken: usize, framed: bool) -> Option<(&Arc<Entry>, usize)> {
        let mut end = 0;
        self.entries.iter().find_map(|entry| {
            end += entry.encoded.bytes(framed).len();
            (taken <= end).then_some((*entry, end))
        })
    }
}

/// Entries in pieces that are worth a call each.
pub(super) fn pieces<'a>(entries: &'a [&'a Arc<Entry>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut size = 0;
        let fitting = rest.iter().take_while(|entry| {
            size += entry.encoded.len();
            size <= PIECE
        });
        let (piece, after) = rest.split_at(fitting.count().max(1));
        pieces.push(Piece { entries: piece, framed: OnceLock::new(), plain: OnceLock::new() });
        rest = after;
    }
    pieces
}

/// Writes what is new to a live subscriber. If the socket does not take all, the cursor is set to
/// the last entry of which it took a part.
pub(super) fn write_pieces(subscriber: &mut Subscriber, pieces: &[Piece<'_>]) -> Written {
    let framed = subscriber.is_framed();
    // Behind the entry before the first: nothing in between concerns this group.
    let mut done = pieces.first().map_or(0, |piece| piece.entries[0].sequence - 1);
    for piece in pieces {
        let bytes = piece.bytes(framed);
        match subscriber.write(bytes) {
            Written::All => done = piece.entries[piece.entries.len() - 1].sequence,
            Written::Gone => return Written::Gone,
            Written::Part(taken) => {
                if taken > 0
                    && let Some((entry, end)) = piece.cut(taken, framed)
                {
                    done = entry.sequence;
                    subscriber.keep(bytes.slice(taken..end));
                }
                subscriber.subscription.cursor = done;
                return Written::Part(taken);
            }
        }
    }
    Written::All
}
