//! The broker: the log of events, and whom to wake when it grows.
//!
//! A publish is numbered, stored and only then wakes the readers. A subscription has no queue: it
//! is a cursor in the log, and reads on from there, whether it is an hour behind or one event.
//! Nothing in this module knows about HTTP or sockets.
//!
//! Three promises rest on that:
//!
//! - there is no seam between replay and live, since both are the same read;
//! - nobody sees an event before it is stored;
//! - a slow subscriber costs one cursor, and is told when history has moved past it.
//!
//! One mutex guards the log. A publish holds it for about a microsecond; a reader takes it once for
//! all of its subscribers that are up to date, and in small portions for those that are not.

mod entry;
mod history;
mod log;
mod party;
mod publication;
mod reader;
mod recent;
mod selection;
mod settings;
mod slots;
mod subscription;
#[cfg(test)]
mod tests;

use std::future::{self, Future};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

pub use entry::Entry;
pub use publication::{ChannelState, Kept, Level, Publication, Receipt, Refused};
pub use reader::{MOST_READERS, News, ReaderId, Wake};
pub use selection::Selection;
pub use settings::{Keep, Limits, Place, Rate, Rule, Settings};
pub use slots::Key;
pub use subscription::{Gap, Read, Reason, Since, Subscribed, Subscription};

use self::log::Log;
use self::reader::{Bell, Inbox};
use crate::channel::Channel;
use crate::event::{Epoch, Position};
use crate::subject::Subject;

/// The front door to the log.
pub struct Broker {
    epoch: Epoch,
    log: Mutex<Log>,
    bells: RwLock<Vec<Bell>>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

impl Broker {
    /// An empty log in memory.
    pub fn new(settings: Settings) -> Arc<Self> {
        let log = Log::new(settings);
        Arc::new(Self { epoch: log.epoch.clone(), log: Mutex::new(log), bells: RwLock::default() })
    }

    /// Numbers, stores and announces a publication. It is done, or on its way, when this returns,
    /// whatever becomes of the future, which is ready once the promised level is reached.
    pub fn publish(
        &self,
        publication: Publication,
    ) -> impl Future<Output = Result<Receipt, Refused>> + Send + use<> {
        future::ready(self.publish_now(publication))
    }

    fn publish_now(&self, publication: Publication) -> Result<Receipt, Refused> {
        let (now, time) = (Instant::now(), SystemTime::now());
        let mut log = self.lock();
        let next = log.head + 1;
        let draft = log.prepare(publication, next, now, time)?;
        let (receipt, readers) = log.commit(draft, Level::Accepted, now);
        drop(log);
        self.ring(readers);
        Ok(receipt)
    }

    /// Ends every subscriber accepted for `subject`; how many there were. None of them is a receiver of
    /// what is published after this.
    pub fn disconnect(&self, subject: &Subject) -> usize {
        let (members, readers) = self.lock().disconnect(subject);
        self.ring(readers);
        members
    }

    /// The channel, if it exists.
    pub fn channel(&self, channel: &Channel) -> Option<ChannelState> {
        let mut log = self.lock();
        let key = log.key(channel)?;
        log.state(key, Instant::now())
    }

    /// At most `limit` channels in the order of their names, beginning behind `after`; with
    /// `matching`, only those.
    pub fn channels(
        &self,
        after: Option<&str>,
        matching: Option<&globset::GlobMatcher>,
        limit: usize,
    ) -> Vec<ChannelState> {
        let mut log = self.lock();
        let matches = |name: &Channel| matching.is_none_or(|glob| glob.is_match(name.as_str()));
        let keys: Vec<_> = log
            .names_after(after)
            .filter(|(name, _)| matches(name))
            .map(|(_, key)| key)
            .take(limit)
            .collect();
        let now = Instant::now();
        keys.into_iter().filter_map(|key| log.state(key, now)).collect()
    }

    /// At most `limit` events of the channel's history after `after` (an id of ours or of the
    /// publisher's; unknown ones begin at the oldest). `None` if there is no such channel.
    pub fn history(&self, channel: &Channel, after: Option<&str>, limit: usize) -> Option<Vec<Kept>> {
        let mut log = self.lock();
        let key = log.key(channel)?;
        Some(log.history(key, after, limit, Instant::now()))
    }

    /// The place of the newest event.
    pub fn head(&self) -> Position {
        let log = self.lock();
        Position { epoch: log.epoch.clone(), sequence: log.head }
    }

    /// The word that all ids of this log begin with.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Lets time pass: what is too old leaves. To be called every second.
    pub fn sweep(&self) {
        self.lock().sweep(Instant::now());
    }

    /// Makes somebody a reader, to be woken with `wake`. There are at most [`MOST_READERS`].
    pub fn add_reader(&self, wake: Arc<dyn Wake>) -> ReaderId {
        let mut bells = self.bells.write().unwrap_or_else(PoisonError::into_inner);
        assert!(bells.len() < MOST_READERS, "there are at most {MOST_READERS} readers");
        bells.push(Bell::new(wake));
        self.lock().readers.push(Inbox::default());
        bells.len() - 1
    }

    /// Opens the log for a reader. Whatever is published from now on wakes it again.
    pub fn open(&self, reader: ReaderId) -> Reading<'_> {
        self.bells.read().unwrap_or_else(PoisonError::into_inner)[reader].answer();
        Reading { log: self.lock(), reader }
    }

    fn ring(&self, readers: u64) {
        if readers == 0 {
            return;
        }
        let bells = self.bells.read().unwrap_or_else(PoisonError::into_inner);
        for (reader, bell) in bells.iter().enumerate() {
            if readers >> reader & 1 == 1 {
                bell.ring();
            }
        }
    }

    // A panic while the log is locked would be a fault of ours in the middle of a change; going on
    // serves everyone else better than failing each request from then on.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, open to one reader. Publishes wait until it is dropped.
pub struct Reading<'a> {
    log: MutexGuard<'a, Log>,
    reader: ReaderId,
}

impl Reading<'_> {
    /// What happened after `seen`.
    pub fn news(&mut self, seen: u64) -> News {
        let head = self.log.head;
        let bit = 1 << self.reader;
        let inbox = std::mem::take(&mut self.log.readers[self.reader]);
        let recent = self.log.recent.after(seen, head);
        let entries = recent.map(|recent| recent.filter(|entry| entry.readers & bit != 0).cloned().collect());
        News { entries, head, closed: inbox.closed, disconnected: inbox.disconnected }
    }

    /// What comes next for a subscription, without moving it: at most `limit` entries, none after
    /// `up_to`.
    pub fn read(&mut self, subscription: &mut Subscription, up_to: u64, limit: usize) -> Read {
        self.log.read(subscription, up_to, limit)
    }

    /// Moves a subscription that the history has moved past on to what is left; what to tell it.
    pub fn skip(&mut self, subscription: &mut Subscription) -> Gap {
        self.log.skip(subscription)
    }
}
