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
mod history;
mod log;
#[cfg(test)]
mod model;
mod moment;
mod names;
mod opening;
mod publication;
mod reader;
mod recent;
mod restore;
mod retention;
mod selection;
mod settings;
mod store;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

pub use bell::Wake;
pub use ending::Ended;
pub use entry::Entry;
pub use opening::Waiting;
pub use publication::{ChannelState, Kept, Level, Publication, Receipt, Refused};
pub use reader::{Latest, MOST_READERS, News, ReaderId, Reading};
pub use selection::{Role, Selection};
pub use settings::{Keep, Limits, Rate, Rule, Settings, Store};
pub use store::OpenError;
pub use subscription::{Gap, Read, Reason, Since, Subscribed, Subscription, Wish};

use self::bell::{Bell, Noted, Round};
use self::engine::{Home, Memory};
use self::gate::Waits;
use self::log::Log;
use self::moment::Moment;
use self::opening::{Condition, Opening, PATIENCE};
use crate::channel::Channel;
use crate::event::{Epoch, Position};

/// The front door to the log.
pub struct Broker {
    /// Empty until the log is there.
    epoch: OnceLock<Epoch>,
    shared: Arc<Shared>,
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

/// The log, and who is to be told when it changes.
struct Shared {
    log: Mutex<Log>,
    bells: RwLock<Vec<Bell>>,
    round: Round,
    waits: Waits,
}

/// Ends a round when it is dropped: whatever becomes of the task that has it, nobody is left asleep.
struct Ringer(Arc<Shared>);

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.ring(self.0.round.end());
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
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

fn going_down() -> Refused {
    Refused::Store("outboard is going down".into())
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

    /// With an empty log that is in nobody's hands.
    fn empty(settings: Settings) -> Self {
        let log = Log::new(settings);
        let latest_disconnect = log.audience.latest_disconnect();
        let waits = Waits::at(&log.gate);
        let log = Mutex::new(log);
        Self {
            epoch: OnceLock::new(),
            latest_disconnect,
            shared: Arc::new(Shared { log, bells: RwLock::default(), round: Round::new(), waits }),
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
        let mut bells = self.shared.bells.write().unwrap_or_else(PoisonError::into_inner);
        assert!(bells.len() < MOST_READERS, "there are at most {MOST_READERS} readers");
        bells.push(Bell::new(wake));
        bells.len() - 1
    }

    /// Opens the log for a reader. Whatever is published from now on wakes it again.
    pub fn reading(&self, reader: ReaderId) -> Reading<'_> {
        self.shared.bells()[reader].answer();
        Reading::new(self.lock(), reader)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.shared.lock()
    }
}

fn room_for(publication: &Publication) -> u32 {
    let kib = publication.size().div_ceil(1024);
    u32::try_from(kib).unwrap_or(ROOM).min(ROOM)
}

/// Lets the oldest events of all go until their bytes are within the bound, in portions: whoever waits for
/// the log gets it in between.
fn keep_to_total(log: &mut MutexGuard<'_, Log>) {
    while log.keep_to_total() {
        MutexGuard::bump(log);
    }
}

impl Shared {
    // A panic while the log is locked would be a fault of ours in the middle of a change; going on
    // serves everyone else better than failing each request from then on. The lock is a fair one: whoever
    // has long work does it in portions, and lets those in between who wait.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    fn bells(&self) -> RwLockReadGuard<'_, Vec<Bell>> {
        self.bells.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings once for all that is published in this turn of the scheduler: with many publishers, a wake of
    /// the fan-out for each of them would cost more than the rest of a publish. Without tokio there are no
    /// turns, and whoever begins a round ends it at once.
    fn ring_soon(self: &Arc<Self>, readers: u64) {
        if readers == 0 {
            return;
        }
        match self.round.note(readers) {
            Noted::First => {
                // It rings when it is dropped: here, if there is no runtime.
                let ringer = Ringer(Arc::clone(self));
                let Ok(runtime) = Handle::try_current() else { return };
                runtime.spawn(async move {
                    // Comes back when everyone who was ready to run has run.
                    tokio::task::yield_now().await;
                    drop(ringer);
                });
            }
            Noted::Further => {}
            Noted::Enough => self.ring(self.round.end()),
        }
    }

    fn ring(&self, readers: u64) {
        if readers == 0 {
            return;
        }
        for (reader, bell) in self.bells().iter().enumerate() {
            if readers >> reader & 1 == 1 {
                bell.ring();
            }
        }
    }
}
