//! What the log is told: how much it keeps, and of which channels.

use std::path::PathBuf;
use std::time::Duration;

use crate::channel::Channel;

/// Room for `dedupe` keys, however little is kept of events.
const LEAST_KEY_BYTES: usize = 16 << 20;

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
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// The shortest time between two events.
    pub interval: Duration,
}

/// Where the log lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Store {
    /// In this process.
    Memory,
    /// In a file in this folder.
    Disk(PathBuf),
}

/// What the log is told when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the log lives.
    pub store: Store,
    /// Whether a publication is acknowledged, and seen, only once it is on disk. Without a disk, never.
    pub stored: bool,
    /// How much is kept of channels that no rule names.
    pub limits: Limits,
    /// The most bytes over all channels.
    pub total_bytes: usize,
    /// The most channels at a time.
    pub max_channels: usize,
    /// How long a `dedupe` key is remembered, unless there are more than fit; then the oldest go before.
    pub dedupe_window: Duration,
    /// Settings by name pattern.
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: Store::Memory,
            stored: true,
            limits: Limits { max_events: 1000, max_age: Duration::from_secs(3600), max_bytes: 4 << 20 },
            total_bytes: 256 << 20,
            max_channels: 100_000,
            dedupe_window: Duration::from_secs(120),
            rules: Vec::new(),
        }
    }
}

impl Settings {
    /// The most bytes of `dedupe` keys that have outlived their events: within their window, as many as
    /// a publisher writes, and that must not be more than fits beside the events.
    pub(super) fn key_bytes(&self) -> usize {
        self.total_bytes.max(LEAST_KEY_BYTES)
    }

    /// What holds for this channel: what the first rule says that matches its name, else the limits
    /// of all.
    pub(super) fn of(&self, channel: &Channel) -> Terms {
        let everyone = Terms { keep: Keep::All, max_rate: None, limits: self.limits };
        self.rules
            .iter()
            .find(|rule| rule.pattern.is_match(channel.as_str()))
            .map_or(everyone, |rule| Terms { keep: rule.keep, max_rate: rule.max_rate, limits: rule.limits })
    }
}

/// What holds for one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) keep: Keep,
    pub(super) max_rate: Option<Rate>,
    pub(super) limits: Limits,
}
