//! The broker: the log of events, and whom to wake when it grows.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::channel::Channel;
use crate::event::{Event, EventId, Position};
use crate::replay::Replay;
use crate::subject::Subject;

/// How much of a channel's past is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most events.
    pub max_events: usize,
    /// The greatest age of an event.
    pub max_age: Duration,
    /// The most bytes, as encoded for clients.
    pub max_bytes: usize,
}

/// What of a channel is worth keeping.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Keep {
    /// Every event within the limits.
    #[default]
    All,
    /// The newest event only: it replaces what came before.
    Latest,
}

/// The settings of the channels whose names match a pattern (`[[channel]]`).
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which channels. The first rule that matches holds.
    pub pattern: globset::GlobMatcher,
    /// What is kept.
    pub keep: Keep,
    /// The most events a second that one subscriber gets; what is in between is left out.
    pub max_rate: Option<Rate>,
    /// How much is kept.
    pub limits: Limits,
}

/// So many events per period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// The shortest time between two events.
    pub interval: Duration,
}

/// Where the log lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In this process.
    Memory,
    /// In a file in this folder.
    Disk(PathBuf),
}

/// What the log is told when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the log lives.
    pub place: Place,
    /// How much is kept of channels that no rule names.
    pub limits: Limits,
    /// The most bytes over all channels.
    pub total_bytes: usize,
    /// The most channels at a time.
    pub max_channels: usize,
    /// How long a `dedupe` key is remembered at least.
    pub dedupe_window: Duration,
    /// Settings by name pattern.
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            place: Place::Memory,
            limits: Limits { max_events: 1000, max_age: Duration::from_secs(3600), max_bytes: 4 << 20 },
            total_bytes: 256 << 20,
            max_channels: 100_000,
            dedupe_window: Duration::from_secs(120),
            rules: Vec::new(),
        }
    }
}

/// What a publisher asks for: an event, a close, or both, on some channels, all or none.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Where to; at least one, each once.
    pub channels: Vec<Channel>,
    /// What is published.
    pub event: Option<Event>,
    /// Whether the channels are closed afterwards.
    pub close: bool,
    /// After how long the event leaves the history, whatever the channel's limits say.
    pub ttl: Option<Duration>,
    /// The key under which a second try is known as such.
    pub dedupe: Option<Box<str>>,
}

/// How safe an acknowledged event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// In this process's memory.
    Accepted,
    /// On disk, past the sync.
    Stored,
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
}

/// Why a publication was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The names are used up.
    #[error("there are {0} channels already, and no more are allowed")]
    TooManyChannels(usize),
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

/// The front door to the log.
pub struct Broker {
    settings: Settings,
}

impl Broker {
    /// An empty log in memory.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings })
    }

    /// Numbers, stores and announces a publication. It is on its way when this returns, whatever
    /// becomes of the future, which is done once the promised level is reached.
    pub fn publish(
        &self,
        _publication: Publication,
    ) -> impl Future<Output = Result<Receipt, Refused>> + Send + use<> {
        let _ = &self.settings;
        async { todo!() }
    }

    /// Ends every subscriber accepted for `subject`; how many there were.
    pub fn disconnect(&self, _subject: &Subject) -> usize {
        todo!()
    }

    /// The channel, if it exists.
    pub fn channel(&self, _channel: &Channel) -> Option<ChannelState> {
        todo!()
    }

    /// At most `limit` channels in the order of their names, beginning behind `after`; with
    /// `matching`, only those.
    pub fn channels(
        &self,
        _after: Option<&str>,
        _matching: Option<&globset::GlobMatcher>,
        _limit: usize,
    ) -> Vec<ChannelState> {
        todo!()
    }

    /// At most `limit` events of the channel's history after `after` (an id of ours or of the
    /// publisher's; unknown ones begin at the oldest). `None` if there is no such channel.
    pub fn history(&self, _channel: &Channel, _after: Option<&str>, _limit: usize) -> Option<Vec<Kept>> {
        todo!()
    }

    /// The place behind the newest event.
    pub fn head(&self) -> Position {
        todo!()
    }

    /// The policy type is used by subscriptions.
    #[doc(hidden)]
    pub fn _replay(_: Replay) {}
}
