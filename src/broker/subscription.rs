//! A subscription: a cursor in the log, and the reads that move it.

mod anchor;
mod begin;
mod read;

use std::sync::Arc;

use smallvec::SmallVec;

pub use self::anchor::Anchor;
use super::audience::Party;
use super::ending::Ended;
use super::entry::Entry;
use super::log::Log;
use super::moment::Moment;
use super::publication::Refused;
use super::reader::ReaderId;
use super::selection::{Role, Selection};
use super::shared_log::SharedLog;
use crate::channel::Channel;
use crate::event::Position;
use crate::replay::Replay;
use crate::subject::Subject;

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    /// The last id it has seen, ours or a publisher's.
    pub last_event_id: Option<&'a str>,
    /// What it gets if it does not say.
    pub replay: Replay,
}

/// What somebody wants to read, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The channels.
    pub channels: &'a [Channel],
    /// From where on.
    pub since: Since<'a>,
    /// Whether it counts.
    pub role: Role,
    /// What it was accepted as, if somebody said so.
    pub subject: Option<&'a Subject>,
    /// [`Broker::latest_disconnect`](super::Broker::latest_disconnect) right before somebody was asked whether this one may listen, if somebody
    /// was: if the subject was disconnected after that, the answer lets nobody in any more.
    pub asked_at: Option<u64>,
    /// Who will deliver it.
    pub reader: ReaderId,
}

impl<'a> Wish<'a> {
    /// A listener's whom nobody had to accept.
    pub fn new(channels: &'a [Channel], since: Since<'a>, reader: ReaderId) -> Self {
        Self { channels, since, role: Role::Listener, subject: None, asked_at: None, reader }
    }
}

/// What a subscription begins with.
#[derive(Debug)]
pub enum Subscribed {
    /// All channels are closed, and the client has seen all there is.
    Over,
    /// Its subject was disconnected after the question whether it may listen was asked.
    Disconnected,
    /// It goes on from here.
    Open(Subscription, Option<Gap>),
}

/// A place in the log for each of the channels a client is on; counted until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    log: Arc<SharedLog>,
    /// The channels.
    pub selection: Arc<Selection>,
    /// Who delivers it.
    reader: ReaderId,
    /// The others that were accepted for the same subject.
    party: Option<Arc<Party>>,
    /// Events up to here are not wanted any more.
    pub cursor: u64,
    /// How it began, until the cursor has passed where the log's head was then.
    beginning: Option<Box<Beginning>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.log.lock().leave(self);
    }
}

impl Subscription {
    /// Puts somebody on channels of the log, which is locked.
    pub(super) fn open(
        shared: &Arc<SharedLog>,
        log: &mut Log,
        wish: Wish<'_>,
    ) -> Result<Subscribed, Refused> {
        let Wish { channels, since, role, subject, asked_at, reader } = wish;
        if let (Some(subject), Some(asked_at)) = (subject, asked_at)
            && log.audience.was_disconnected_since(subject, asked_at)
        {
            return Ok(Subscribed::Disconnected);
        }
        let now = Moment::now();
        let mut keys = log.keys_to_listen(channels)?;
        keys.sort_unstable();
        keys.dedup();
        for &key in &keys {
            log.refresh(key, now);
        }

        let (start, gap) = log.start(&keys, since);
        if gap.is_none() && log.is_over(&keys, &start) {
            keys.iter().for_each(|&key| log.note_idle(key));
            return Ok(Subscribed::Over);
        }
        if role == Role::Listener {
            log.mark_seen(&keys, &start);
        }
        let selection = log.audience.enter(&mut log.channels, keys, role, reader, log.head);
        let party = subject.map(|subject| log.audience.join(subject, &selection, reader));
        let (cursor, beginning) = log.begin(&selection.channels, &start, now, log.head);

        let subscription = Self { log: Arc::clone(shared), selection, reader, party, cursor, beginning };
        Ok(Subscribed::Open(subscription, gap))
    }

    /// Whether it gets nothing that comes from now on.
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// The last place of which it gets anything, if there is one already, and why nothing of later ones.
    fn end(&self) -> Option<(u64, Ended)> {
        let closed = self.selection.ending.place().map(|place| (place, Ended::Closed));
        let party = self.party.as_ref().and_then(|party| party.ending.place());
        let disconnected = party.map(|place| (place, Ended::Disconnected));
        let (place, why) = closed.into_iter().chain(disconnected).min_by_key(|(place, _)| *place)?;
        Some((place - 1, why))
    }
}

/// What was different for a subscription until it had caught up.
#[derive(Debug)]
struct Beginning {
    /// The log's head then.
    until: u64,
    /// The time then.
    at: Moment,
    /// For each channel, how it was then.
    channels: SmallVec<[ChannelThen; 2]>,
}

/// A channel as it was when a subscription began. What was missing from its history already is no fault
/// of the subscriber, and it was told if it had reason to expect it.
#[derive(Debug)]
struct ChannelThen {
    /// The event up to which it is not wanted, or gone.
    floor: u64,
    /// How many events had left its history.
    left: u64,
}

/// Why a client cannot be given everything after its id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Some of it has left the history.
    Trimmed,
    /// The id is of another log: outboard was restarted.
    Epoch,
    /// Nobody knows the id.
    Unknown,
    /// The client was too slow and the history has moved past it.
    Slow,
}

impl Reason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Epoch => "epoch",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
        }
    }
}

/// What a client is told that has a gap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// Why.
    pub reason: Reason,
    /// The id it came with, if it did.
    pub requested: Option<Box<str>>,
    /// The id of the oldest event it can still get.
    pub oldest: Option<Box<str>>,
    /// The id of the newest.
    pub newest: Option<Box<str>>,
    /// The place right before what it gets next: a client that is cut off now resumes there.
    pub resume: Position,
}

/// What a read brings.
#[derive(Debug)]
pub enum Read {
    /// The next entries, oldest first.
    Next {
        /// The entries.
        entries: Vec<Arc<Entry>>,
        /// Where the cursor is after them.
        cursor: u64,
        /// Whether more waits, for the limit was reached.
        more: bool,
        /// Why nothing comes after this, if that is so.
        over: Option<Ended>,
    },
    /// The history has moved past the cursor.
    Fallen,
}

/// Where a subscription begins.
struct Start {
    cursor: u64,
    /// For each channel, if they differ.
    floors: SmallVec<[u64; 4]>,
}

impl Start {
    fn at(cursor: u64) -> Self {
        Self { cursor, floors: SmallVec::new() }
    }

    /// The event up to which a channel is not wanted.
    fn floor(&self, index: usize) -> u64 {
        self.floors.get(index).copied().unwrap_or(self.cursor)
    }
}
