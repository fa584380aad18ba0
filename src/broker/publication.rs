//! What publishers ask for and are told, and what is to be read about channels.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::entry::Entry;
use crate::channel::Channel;
use crate::event::encode::Unnumbered;
use crate::event::frame::{Code, Frame, FrameError};
use crate::event::{Epoch, Event, EventId, Position};
use crate::subject::Subject;

/// What a publisher asks for: an event, a close, or both, on some channels, all or none; and whose
/// streams are to end.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Where to, each once; at least one, if there is an event or a close.
    pub channels: Vec<Channel>,
    /// What is published.
    pub event: Option<Event>,
    /// Whether the channels are closed afterwards.
    pub close: bool,
    /// After how long the event leaves the history, whatever the channel's limits say.
    pub ttl: Option<Duration>,
    /// The key under which a second try is known as such.
    pub dedupe: Option<Box<str>>,
    /// Whose subscribers are ended, after they were handed the event.
    pub disconnect: Vec<Subject>,
}

impl Publication {
    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        let event = self.event.as_ref().and_then(Event::data).map_or(0, str::len);
        let names: usize = self.channels.iter().map(|name| name.as_str().len()).sum();
        event + names + 256
    }

    /// Writes the event out for the log `epoch`, but for its number: that takes as long as the event is
    /// large, and is done before anybody waits for it.
    pub(super) fn write(self, epoch: &Epoch) -> Written {
        let Self { channels, event, close, ttl, dedupe, disconnect } = self;
        let event = event.map(|event| WrittenEvent {
            text: Unnumbered::new(&event, epoch),
            own_id: event.id().map(Into::into),
            ttl,
        });
        Written { channels, event, close, dedupe, disconnect }
    }
}

/// A publication whose event is written out but for its number.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) channels: Vec<Channel>,
    pub(super) event: Option<WrittenEvent>,
    pub(super) close: bool,
    pub(super) dedupe: Option<Box<str>>,
    pub(super) disconnect: Vec<Subject>,
}

/// An event that is written out but for its number, and what its publisher said of it.
#[derive(Debug)]
pub(super) struct WrittenEvent {
    pub(super) text: Unnumbered,
    pub(super) own_id: Option<Box<str>>,
    pub(super) ttl: Option<Duration>,
}

impl Written {
    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.text.len())
    }
}

impl From<Frame> for Publication {
    fn from(frame: Frame) -> Self {
        let Frame { channels, event, close, ttl, dedupe, disconnect, reply: _ } = frame;
        Self { channels, event, close, ttl, dedupe, disconnect }
    }
}

/// How safe an acknowledged event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// In this process's memory.
    Accepted,
    /// On disk, past the sync.
    Stored,
}

impl Level {
    /// The word in replies (PROTOCOL 2).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
        }
    }
}

/// What became of a publication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The event's id; `None` if the publication held no event.
    pub id: Option<EventId>,
    /// Subscribers it was handed to, each connection counted once.
    pub receivers: usize,
    /// How safe it is.
    pub level: Level,
    /// Whether its `dedupe` key was seen before; `id` is then the first one's.
    pub duplicate: bool,
    /// How many subscribers were ended.
    pub disconnected: usize,
}

/// Why a publication was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The names are used up.
    #[error("there are {0} channels, which is the most allowed; let some expire or be closed")]
    TooManyChannels(usize),
    /// The share of them is used up that may be there only because somebody listens.
    #[error(
        "clients listen on {0} channels to which nothing was ever published, which is the most allowed (half of `max_channels` in [history])"
    )]
    TooManyNames(usize),
    /// The store does not take anything at present; what the system said.
    #[error("the log cannot be written, so this was not taken; try again, with a dedupe key: {0}")]
    Store(String),
    /// Publishers are faster than the disk.
    #[error("too much waits to be written already; publish more slowly")]
    Overloaded,
}

impl Refused {
    /// The case, as publishers are told of it.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooManyChannels(_) | Self::TooManyNames(_) | Self::Overloaded => Code::Overloaded,
            Self::Store(_) => Code::Store,
        }
    }
}

impl From<Refused> for FrameError {
    fn from(refused: Refused) -> Self {
        Self { code: refused.code(), text: refused.to_string() }
    }
}

/// A channel, as it is now.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChannelState {
    /// Its name.
    pub channel: Channel,
    /// How many listen.
    pub subscribers: usize,
    /// How many events its history holds.
    pub events: usize,
    /// How many bytes these have.
    pub bytes: usize,
    /// The id of the oldest.
    pub oldest: Option<EventId>,
    /// The id of the newest.
    pub newest: Option<EventId>,
    /// Whether it is closed.
    pub closed: bool,
}

/// An event of the past, for people and programs to read.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its id on the wire.
    pub id: EventId,
    /// What it carried.
    pub event: Event,
    /// When it was published.
    pub time: SystemTime,
}

impl Kept {
    /// An entry of the log `epoch`.
    pub(super) fn of(entry: &Entry, epoch: &Epoch) -> Self {
        let id = match &entry.own_id {
            Some(id) => EventId::Publisher(id.clone()),
            None => EventId::Position(Position { epoch: epoch.clone(), sequence: entry.sequence }),
        };
        Self { id, event: entry.encoded.event(), time: entry.time }
    }
}

/// A publication on its way. It gets there whatever becomes of this; ready once the promised level is
/// reached.
#[derive(Debug)]
pub enum Publishing {
    /// It is done.
    Done(Option<Result<Receipt, Refused>>),
    /// The writer has it.
    Waiting(oneshot::Receiver<Result<Receipt, Refused>>),
    /// It waits for the log to be there.
    Queued(oneshot::Receiver<Publishing>),
}

impl Future for Publishing {
    type Output = Result<Receipt, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || Err(going_down());
        let this = self.get_mut();
        loop {
            match this {
                Self::Done(outcome) => return Poll::Ready(outcome.take().unwrap_or_else(gone)),
                Self::Waiting(answer) => {
                    return Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| gone()));
                }
                Self::Queued(taken) => match Pin::new(taken).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(taken) => *this = taken.unwrap_or(Self::Done(None)),
                },
            }
        }
    }
}

/// Refused because the process ends.
pub(super) fn going_down() -> Refused {
    Refused::Store("outboard is going down".into())
}
