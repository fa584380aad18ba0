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
mod away;
mod bell;
mod changes;
mod ending;
mod entry;
mod history;
mod log;
#[cfg(test)]
mod model;
mod moment;
mod names;
mod publication;
mod reader;
mod recent;
mod restore;
mod selection;
mod settings;
mod store;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use away::Waiting;
pub use bell::Wake;
pub use ending::Ended;
pub use entry::Entry;
pub use publication::{ChannelState, Kept, Level, Publication, Receipt, Refused};
pub use reader::{Latest, MOST_READERS, News, ReaderId, Reading};
pub use selection::{Role, Selection, SelectionId};
pub use settings::{Keep, Limits, Rate, Rule, Settings, Store};
pub use store::OpenError;
pub use subscription::{Gap, Read, Reason, Since, Subscribed, Subscription, Wish};

use self::away::Away;
use self::bell::{Bell, Noted, Round};
use self::log::Log;
use self::moment::Moment;
use self::store::Rows;
use self::store::disk::Disk;
use self::store::writer::{Job, Writer};
use crate::channel::Channel;
use crate::event::{Epoch, Position};

/// The front door to the log.
pub struct Broker {
    /// Empty until the log is there.
    epoch: OnceLock<Epoch>,
    shared: Arc<Shared>,
    /// Whether publications are seen only once they are on disk.
    stored: bool,
    /// Empty if there is no disk, or none yet.
    writer: OnceLock<Writer>,
    /// If the log could not be opened at the start.
    away: Option<Away>,
    /// What may wait for the writer, in KiB.
    room: Arc<Semaphore>,
}

/// The most that waits to be written, in KiB.
const ROOM: u32 = 256 << 10;
/// What one read of a publisher's bytes may ask for of it, in KiB: 32 KiB hold some 5,400 of the
/// shortest frames, each of which counts for one.
const ROOM_OF_A_READ: u32 = 6 << 10;

/// How many portions of the channels are looked at every second: it comes round to 120,000 within a minute.
const SWEPT_IN_PORTIONS: usize = 8;

/// The log, and who is to be told when it changes.
struct Shared {
    log: Mutex<Log>,
    bells: RwLock<Vec<Bell>>,
    round: Round,
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
}

impl Future for Publishing {
    type Output = Result<Receipt, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || Err(going_down());
        match self.get_mut() {
            Self::Done(outcome) => Poll::Ready(outcome.take().unwrap_or_else(gone)),
            Self::Waiting(answer) => {
                Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| gone()))
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
        Arc::new(Self::with(Log::new(settings), false, None))
    }

    /// The log in its store: what was there before, or an empty one. With a disk that fails just now, a
    /// log that takes nothing, and whose subscribers wait, until the disk is well.
    ///
    /// # Errors
    /// When the store is a disk and cannot be used, and waiting is no help: it is somebody else's, by its
    /// lock, its rights or its format.
    pub fn open(settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let Store::Disk(folder) = &settings.store else { return Ok(Self::new(settings.clone())) };
        match Disk::open_patiently(folder, settings) {
            Ok((disk, log)) => Self::with_disk(disk, log, settings.stored),
            Err(error) if error.may_pass() => Self::without_disk(&error, folder, settings),
            Err(error) => Err(error),
        }
    }

    fn with_disk(disk: Disk, log: Log, stored: bool) -> Result<Arc<Self>, OpenError> {
        let path = disk.path().to_owned();
        let broker = Self::with(log, stored, None);
        let writer = Writer::start(disk, Arc::clone(&broker.shared));
        let _ = broker.writer.set(writer.map_err(|cause| OpenError::Io { path, cause })?);
        Ok(Arc::new(broker))
    }

    fn without_disk(error: &OpenError, folder: &Path, settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let log = Log::new(settings.clone());
        let broker = Arc::new(Self::with(log, settings.stored, Some(Away::new(error))));
        if let Some(away) = &broker.away {
            let started = away.start(folder.into(), settings.clone(), Arc::downgrade(&broker));
            started.map_err(|cause| OpenError::Io { path: folder.into(), cause })?;
        }
        Ok(broker)
    }

    fn with(log: Log, stored: bool, away: Option<Away>) -> Self {
        let epoch = OnceLock::new();
        if away.is_none() {
            let _ = epoch.set(log.epoch.clone());
        }
        Self {
            epoch,
            shared: Arc::new(Shared { log: Mutex::new(log), bells: RwLock::default(), round: Round::new() }),
            stored,
            writer: OnceLock::new(),
            away,
            room: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    /// Why there is no log yet, if that is so: it cannot be opened.
    pub fn away(&self) -> Option<String> {
        self.opening().map(Away::why)
    }

    fn opening(&self) -> Option<&Away> {
        self.away.as_ref().filter(|_| self.writer.get().is_none())
    }

    /// Numbers, stores and announces a publication. It is done, or on its way, when this returns.
    /// Refused if too much is on its way already.
    pub fn publish(&self, publication: Publication) -> Publishing {
        let Some(writer) = self.writer.get() else {
            let outcome = match &self.away {
                None => self.publish_now(publication, None),
                Some(away) => Err(Refused::Store(away.why())),
            };
            return Publishing::Done(Some(outcome));
        };
        match Arc::clone(&self.room).try_acquire_many_owned(room_for(&publication)) {
            Ok(room) => self.hand_over(writer, publication, room),
            Err(_) => Publishing::Done(Some(Err(Refused::Overloaded))),
        }
    }

    /// Waits as long as so much is on its way that publications may be refused.
    pub async fn room(&self) {
        let _ = self.room.acquire_many(ROOM_OF_A_READ).await;
    }

    fn hand_over(&self, writer: &Writer, publication: Publication, room: OwnedSemaphorePermit) -> Publishing {
        if !self.stored {
            return Publishing::Done(Some(self.publish_now(publication, Some((writer, room)))));
        }
        let (answer, waiting) = oneshot::channel();
        writer.send(Job::Publish(publication, answer, room));
        Publishing::Waiting(waiting)
    }

    /// Makes a publication part of the log at once; if there is a writer, it writes it when it can.
    fn publish_now(
        &self,
        publication: Publication,
        behind: Option<(&Writer, OwnedSemaphorePermit)>,
    ) -> Result<Receipt, Refused> {
        let (now, time) = (Moment::now(), moment::time());
        let mut log = self.shared.lock();
        let next = log.head + 1;
        let draft = log.prepare(publication, next, now, time)?;
        if let Some((writer, room)) = behind {
            let rows = log.rows_after(&draft, &Rows::new());
            // Sent while the log is locked, so that they are written in the order of the log.
            writer.send(Job::Keep(log.stored(&draft), rows, room));
        }
        let (receipt, readers) = log.commit(draft, Level::Accepted, now);
        keep_to_total(&mut log);
        drop(log);
        self.shared.ring_soon(readers);
        Ok(receipt)
    }

    /// Takes on other limits and rules. Where the log lives stays as it is.
    pub fn reconfigure(&self, settings: &Settings) {
        self.lock().reconfigure(settings);
    }

    /// Ends the log: what was handed over is written, nothing more is taken. Blocks until that is done.
    pub fn close(&self) {
        if let Some(away) = &self.away {
            away.close();
        }
        if let Some(writer) = self.writer.get() {
            writer.close();
        }
    }

    /// Whether publications can be taken at present.
    pub fn is_writable(&self) -> bool {
        match self.writer.get() {
            Some(writer) => writer.is_writable(),
            None => self.away.is_none(),
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
        let mut log = self.lock();
        let matches = |name: &Channel| matching.is_none_or(|glob| glob.is_match(name.as_str()));
        let keys: Vec<_> = log
            .names_after(after)
            .filter(|(name, _)| matches(name))
            .map(|(_, key)| key)
            .take(limit)
            .collect();
        let now = Moment::now();
        keys.into_iter().filter_map(|key| log.state(key, now)).collect()
    }

    /// At most `limit` events of the channel's history after `after` (an id of ours or of the
    /// publisher's; unknown ones begin at the oldest). `None` if there is no such channel.
    pub fn history(&self, channel: &Channel, after: Option<&str>, limit: usize) -> Option<Vec<Kept>> {
        let mut log = self.lock();
        let key = log.key(channel)?;
        Some(log.history(key, after, limit, Moment::now()))
    }

    /// The place of the newest event or ending.
    pub fn head(&self) -> Position {
        let log = self.lock();
        Position { epoch: log.epoch.clone(), sequence: log.head }
    }

    /// The word that all ids of this log begin with. Before the log is there, one that no id begins with.
    pub fn epoch(&self) -> &Epoch {
        static NONE: LazyLock<Epoch> = LazyLock::new(Epoch::random);
        self.epoch.get().unwrap_or(&NONE)
    }

    /// Lets time pass: what is too old leaves. To be called every second.
    pub fn sweep(&self) {
        let now = Moment::now();
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
