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

mod attendance;
mod audience;
mod bell;
mod changes;
mod channels;
mod ending;
mod engine;
mod entry;
mod gate;
mod log;
#[cfg(test)]
mod model;
mod moment;
mod names;
mod opening;
mod publication;
mod reader;
mod reading;
mod recent;
mod record;
mod restore;
mod retention;
mod selection;
mod settings;
mod shared_log;
mod store;
mod subscription;
mod sync;
mod taken_over;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::MutexGuard;
use tokio::sync::Semaphore;

pub use bell::Wake;
pub use ending::Ended;
pub use entry::Entry;
pub use opening::Waiting;
pub use publication::{ChannelState, Kept, Level, Publication, Publishing, Receipt, Refused};
pub use reader::{Latest, MOST_READERS, News, ReaderId};
pub use reading::Reading;
pub use selection::{Role, Selection};
pub use settings::{Keep, Limits, Rate, Rule, Settings, Store};
pub use store::OpenError;
pub use subscription::{Anchor, Gap, Read, Reason, Since, Subscribed, Subscription, Wish};

use self::engine::Memory;
use self::log::Log;
use self::moment::Moment;
use self::opening::{Condition, Home, Opening, PATIENCE};
use self::publication::going_down;
use self::shared_log::{SharedLog, keep_to_total};
use crate::channel::Channel;
use crate::event::{Epoch, Position};
use crate::slots::Key;

/// The front door to the log.
pub struct Broker {
    /// Empty until the log is there.
    epoch: OnceLock<Epoch>,
    shared: Arc<SharedLog>,
    latest_disconnect: Arc<AtomicU64>,
    /// Where the log lives.
    home: ArcSwap<Home>,
    /// What may wait to be part of the log, in KiB.
    room: Arc<Semaphore>,
}

/// The most that waits to be written, in KiB.
const ROOM: u32 = 256 << 10;
/// What one read of a publisher's bytes may ask for of it, in KiB: 32 KiB hold some 5,400 of the
/// shortest frames, each of which counts for one.
const ROOM_OF_A_READ: u32 = 6 << 10;

/// How many channels are looked at while everybody else waits.
const AT_ONCE: usize = 256;
/// How many portions of the channels are looked at every second: it comes round to 120,000 within a minute.
const SWEPT_IN_PORTIONS: usize = 8;

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

impl Broker {
    /// An empty log in memory.
    pub fn new(settings: Settings) -> Arc<Self> {
        let broker = Arc::new(Self::empty(settings));
        let _ = broker.epoch.set(broker.lock().epoch.clone());
        broker.home.store(Arc::new(Home::Open(Box::new(Memory(Arc::clone(&broker.shared))))));
        broker
    }

    /// The log in its store: what was there before, or an empty one. A large one is read while this has
    /// returned already, and one on a disk that fails just now is opened when the disk is well: until then
    /// its subscribers wait, and so do publications unless the disk fails.
    ///
    /// # Errors
    /// When the store is a disk and cannot be used, and waiting is no help: it is somebody else's, by its
    /// lock, its rights or its format.
    pub fn open(settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let Store::Disk(folder) = &settings.store else { return Ok(Self::new(settings.clone())) };
        let broker = Arc::new(Self::empty(settings.clone()));
        let home = broker.home.load_full();
        if let Home::Opening(opening) = &*home {
            opening.start(folder.clone(), settings.clone(), &broker)?;
        }
        Ok(broker)
    }

    /// Whether the log could be opened now, or made; nothing is made.
    ///
    /// # Errors
    /// Why it could not.
    pub fn rehearse(settings: &Settings) -> Result<(), OpenError> {
        match &settings.store {
            Store::Memory => Ok(()),
            Store::Disk(folder) => store::disk::try_open(folder),
        }
    }

    /// With an empty log that is in nobody's hands.
    fn empty(settings: Settings) -> Self {
        let log = Log::new(settings);
        let latest_disconnect = log.audience.latest_disconnect();
        Self {
            epoch: OnceLock::new(),
            latest_disconnect,
            shared: SharedLog::new(log),
            home: ArcSwap::from_pointee(Home::Opening(Opening::new())),
            room: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    /// With a store that was opened.
    #[cfg(test)]
    fn with_disk(settings: &Settings, disk: store::disk::Disk, log: Log) -> Arc<Self> {
        let broker = Arc::new(Self::empty(settings.clone()));
        if let Home::Opening(opening) = &*broker.home.load_full() {
            opening.take_up(&broker, settings, disk, log).unwrap();
        }
        broker
    }

    /// Waits until the log is there, or it is known that it cannot be read.
    #[cfg(test)]
    fn settle(&self) {
        if let Home::Opening(opening) = &*self.home.load_full() {
            opening.settle();
        }
    }

    /// Puts a log that was read in the place of the empty one.
    fn put_in_place(&self, mut read: Log) {
        // It may have been told of other limits meanwhile, and again while it takes these on.
        let mut settings = Arc::clone(&self.lock().settings);
        loop {
            read.reconfigure(&settings);
            let mut log = self.lock();
            if Arc::ptr_eq(&log.settings, &settings) {
                // Nobody is in it yet, but it has been asked already which disconnect was the latest.
                read.audience = std::mem::take(&mut log.audience);
                // Who waits at the gate looks at that of the log that is there.
                std::mem::swap(&mut read.gate, &mut log.gate);
                let empty = std::mem::replace(&mut *log, read);
                drop(log);
                drop(empty);
                return;
            }
            settings = Arc::clone(&log.settings);
        }
    }

    /// Why there is no log yet, if that is so: it is being read, or cannot be.
    pub fn away(&self) -> Option<String> {
        match &**self.home.load() {
            Home::Opening(opening) if !opening.is_over() => return Some(opening.why()),
            _ => {}
        }
        // It is over when the log is there, or when nobody waits for it any more.
        match &**self.home.load() {
            Home::Opening(_) => Some(going_down().to_string()),
            Home::Open(_) => None,
        }
    }

    /// Ready if it turns out, after [`Broker::open`] has returned, that the log cannot be used and waiting is no
    /// help.
    pub async fn unusable(&self) -> OpenError {
        if let Home::Opening(opening) = &*self.home.load_full() {
            let mut condition = opening.condition();
            loop {
                if let Some(error) = opening.take_fatal() {
                    return error;
                }
                let is_over = *condition.borrow_and_update() == Condition::Over;
                if is_over || condition.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Waits for a log that is being read, but not for ever.
    ///
    /// # Errors
    /// Why there is none: it cannot be read, or not in time.
    pub async fn opened(&self) -> Result<(), String> {
        let mut condition = match &**self.home.load() {
            Home::Opening(opening) => opening.condition(),
            Home::Open(_) => return Ok(()),
        };
        let is_known = |condition: &Condition| !matches!(condition, Condition::Looking | Condition::Reading);
        let _ = tokio::time::timeout(PATIENCE, condition.wait_for(is_known)).await;
        self.away().map_or(Ok(()), Err)
    }

    /// Numbers, stores and announces a publication. It is done, or on its way, when this returns.
    /// Refused if too much is on its way already.
    pub fn publish(&self, publication: Publication) -> Publishing {
        let room = Arc::clone(&self.room).try_acquire_many_owned(room_for(&publication));
        let Ok(room) = room else { return Publishing::Done(Some(Err(Refused::Overloaded))) };
        let (mut publication, mut room) = (publication, room);
        loop {
            match &**self.home.load() {
                Home::Open(engine) => return engine.append(publication.write(self.epoch()), room),
                Home::Opening(opening) => match opening.queue(publication, room) {
                    ControlFlow::Break(publishing) => return publishing,
                    // It has just come.
                    ControlFlow::Continue(back) => (publication, room) = back,
                },
            }
        }
    }

    /// Waits as long as so much is on its way that publications may be refused.
    pub async fn room(&self) {
        let _ = self.room.acquire_many(ROOM_OF_A_READ).await;
    }

    /// Puts somebody on channels, from where it was or from where the policy says. A listener is a receiver
    /// of whatever is published from now on, until its channels are closed or its subject is disconnected.
    ///
    /// A stream of several channels goes on as long as one of them is open, and gets what comes on one that
    /// was closed and opened again meanwhile; it ends at the place where the last one that was open is closed.
    ///
    /// # Errors
    /// When a channel is new and there can be no more; when there is no log yet (see
    /// [`Broker::wait_for_log`]).
    pub fn subscribe(&self, wish: Wish<'_>) -> Result<Subscribed, Refused> {
        match self.away() {
            Some(why) => Err(Refused::Store(why)),
            None => Subscription::open(&self.shared, &mut self.lock(), wish),
        }
    }

    /// If there is no log yet: a place among those who are put on their channels once it is there, before
    /// anything is published.
    pub fn wait_for_log(&self, wish: Wish<'_>) -> Option<Waiting> {
        match &**self.home.load() {
            Home::Opening(opening) => opening.wait(wish),
            Home::Open(_) => None,
        }
    }

    /// Whether whoever publishes on these channels has to wait for those who read there.
    pub fn holds_back(&self, channels: &[Channel]) -> bool {
        self.shared.held_back(channels).is_some()
    }

    /// Waits for those who read on these channels, as long as they get on and are too far behind.
    pub async fn turn(&self, channels: &[Channel]) {
        self.shared.turn(channels).await;
    }

    /// On these channels `reader` has listeners that get on and are too far behind; on no others.
    pub fn wait_for(&self, reader: ReaderId, channels: Vec<Key<Channel>>) {
        self.lock().gate.note_behind(reader, channels);
        self.let_on();
    }

    /// Has those look again who wait, if there is nobody to be waited for.
    pub fn let_on(&self) {
        self.shared.waits.let_on();
    }

    /// Takes on other limits and rules. Where the log lives stays as it is. Channels that are there are
    /// looked at in turns: which rule holds for a name is found while nobody waits.
    pub fn reconfigure(&self, settings: &Settings) {
        self.lock().take_on(settings);
        let mut from = 0;
        loop {
            let log = self.lock();
            let (names, next) = log.names_at(from, AT_ONCE);
            let settings = Arc::clone(&log.settings);
            drop(log);
            let terms: Vec<_> = names.into_iter().map(|(key, name)| (key, settings.of(&name))).collect();
            let mut log = self.lock();
            if !Arc::ptr_eq(&log.settings, &settings) {
                // Others have been taken on meanwhile, and whoever did that comes round to all.
                return;
            }
            log.set_terms(terms);
            drop(log);
            if next == 0 {
                return;
            }
            from = next;
        }
    }

    /// Nobody waits any longer for a log that is not there yet.
    pub fn stop_waiting(&self) {
        if let Home::Opening(opening) = &**self.home.load() {
            opening.give_up();
        }
    }

    /// Ends the log: what was handed over is written, nothing more is taken. Blocks until that is done.
    pub fn close(&self) {
        if let Home::Opening(opening) = &*self.home.load_full() {
            opening.close();
        }
        // It may have come just before.
        if let Home::Open(engine) = &*self.home.load_full() {
            engine.close();
        }
    }

    /// Whether publications can be taken at present.
    pub fn is_writable(&self) -> bool {
        match &**self.home.load() {
            Home::Opening(_) => false,
            Home::Open(engine) => engine.is_writable(),
        }
    }

    /// The channel, if it exists.
    pub fn channel(&self, channel: &Channel) -> Option<ChannelState> {
        let mut log = self.lock();
        let key = log.key(channel)?;
        log.state(key, Moment::now())
    }

    /// At most `limit` channels in the order of their names, beginning behind `after`; with
    /// `matching`, only those.
    pub fn channels(
        &self,
        after: Option<&str>,
        matching: Option<&globset::GlobMatcher>,
        limit: usize,
    ) -> Vec<ChannelState> {
        let mut states = Vec::new();
        let mut after = after.map(str::to_owned);
        while states.len() < limit {
            // Nobody waits while names are compared.
            let names = self.lock().names_after(after.as_deref(), AT_ONCE);
            let Some(last) = names.last() else { break };
            after = Some(last.as_str().to_owned());
            let wanted = names.iter().filter(|name| matching.is_none_or(|glob| glob.is_match(name.as_str())));
            let wanted: Vec<_> = wanted.take(limit - states.len()).collect();
            let mut log = self.lock();
            let now = Moment::now();
            states.extend(wanted.into_iter().filter_map(|name| {
                let key = log.key(name)?;
                log.state(key, now)
            }));
        }
        states
    }

    /// At most `limit` events of the channel's history after `after` (an id of ours or of the
    /// publisher's; unknown ones begin at the oldest). `None` if there is no such channel.
    pub fn history(&self, channel: &Channel, after: Option<&str>, limit: usize) -> Option<Vec<Kept>> {
        let mut log = self.lock();
        let key = log.key(channel)?;
        let entries = log.history(key, after, limit, Moment::now());
        drop(log);
        // They are read while nobody waits.
        Some(entries.iter().map(|entry| Kept::of(entry, self.epoch())).collect())
    }

    /// The names of a selection's channels, as far as they are known still, for people.
    pub fn names_of(&self, selection: &Selection) -> String {
        let log = self.lock();
        let names = selection.channels.iter().filter_map(|&key| log.channels.get(key));
        let names: Vec<_> = names.map(|record| record.name.clone()).collect();
        drop(log);
        names.iter().map(Channel::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The place of the newest event or ending.
    pub fn head(&self) -> Position {
        let log = self.lock();
        Position { epoch: log.epoch.clone(), sequence: log.head }
    }

    /// The place of the latest disconnect, without a wait for the log. Whoever takes note of it and then asks
    /// somebody whether a client may listen gives it to [`Broker::subscribe`] with the answer.
    pub fn latest_disconnect(&self) -> u64 {
        self.latest_disconnect.load(Ordering::Acquire)
    }

    /// The word that all ids of this log begin with. Before the log is there, one that no id begins with.
    pub fn epoch(&self) -> &Epoch {
        static NONE: LazyLock<Epoch> = LazyLock::new(Epoch::random);
        self.epoch.get().unwrap_or(&NONE)
    }

    /// Lets time pass: what is too old leaves. To be called every second.
    pub fn sweep(&self) {
        let now = Moment::now();
        if let Home::Opening(opening) = &**self.home.load() {
            opening.sweep(now);
        }
        let mut log = self.lock();
        log.forget_keys(now);
        for _ in 0..SWEPT_IN_PORTIONS {
            MutexGuard::bump(&mut log);
            log.sweep(now);
        }
        keep_to_total(&mut log);
    }

    /// Makes somebody a reader, to be woken with `wake`.
    ///
    /// # Panics
    /// When there are [`MOST_READERS`] already.
    pub fn add_reader(&self, wake: Arc<dyn Wake>) -> ReaderId {
        self.shared.add_reader(wake)
    }

    /// Opens the log for a reader. Whatever is published from now on wakes it again.
    pub fn reading(&self, reader: ReaderId) -> Reading<'_> {
        Reading::new(self.shared.read(reader), reader)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.shared.lock()
    }
}

fn room_for(publication: &Publication) -> u32 {
    let kib = publication.size().div_ceil(1024);
    u32::try_from(kib).unwrap_or(ROOM).min(ROOM)
}
