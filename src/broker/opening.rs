//! A log on a disk, from the start until it is there.
//!
//! Reading it takes as long as it is large, and a disk may fail meanwhile. The site must not be down for
//! either, and nobody may be told anything of a log that has not been read: an empty one in its place would
//! have another epoch, so that every client that comes back would be told of a gap that is none, and the
//! next event would get a number that is taken. So a thread opens the log while everything else goes on.
//! Until it is there, publications wait if it is well and are refused if it cannot be read, and whoever
//! wants to listen waits; a file that cannot be read is tried again and again. When it is read, those who
//! wait become subscribers, each from the id it came with, before the first publication is taken: they miss
//! nothing and are told of no gap that is not there.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::Broker;
use super::engine::{Engine, OnDisk};
use super::log::Log;
use super::moment::{self, Moment};
use super::publication::{Publication, Publishing, Refused, going_down};
use super::reader::ReaderId;
use super::selection::Role;
use super::settings::Settings;
use super::store::OpenError;
use super::store::disk::{Disk, Watcher};
use super::store::writer::Writer;
use super::subscription::{Since, Subscribed, Subscription, Wish};
use crate::channel::Channel;
use crate::replay::Replay;
use crate::subject::Subject;

/// How long the start waits for the file to be there and locked: only what that says can end the start.
const LOOK: Duration = Duration::from_secs(2);
/// How long, from its beginning, the start waits for the log to be read: a small one is there by then.
const GLANCE: Duration = Duration::from_millis(30);
/// How long a disk that fails is left alone before each of the first tries; nobody is told of these.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1)];
/// How long a file that cannot be opened is left alone after that. For longer, if the try takes long.
const PAUSE: Duration = Duration::from_secs(1);
/// How long publications, and whoever asks for what is in the log, wait for one that is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long the end waits for a read to be given up: one that hangs is left behind.
const LAST_PATIENCE: Duration = Duration::from_millis(500);
/// How many of those who wait are served while the others cannot come or go.
const PORTION: usize = 64;

/// Where the log lives.
pub(super) enum Home {
    /// Nowhere yet: it is being read, or cannot be.
    Opening(Opening),
    /// In this process, or on a disk.
    Open(Box<dyn Engine>),
}

/// Who waits for the log, and the thread that opens it.
pub(super) struct Opening {
    shared: Arc<Lobby>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Who and what waits, as the thread and everybody else see it.
struct Lobby {
    state: Mutex<State>,
    /// Rung when the state has changed.
    changed: Condvar,
    /// Says the same as `state` to those who wait for it.
    condition: watch::Sender<Condition>,
    /// Set when nobody wants the log any more: a read that is under way fails then.
    given_up: Arc<AtomicBool>,
}

struct State {
    /// Who waits, in the order they came; `None` once the log is there or given up.
    waiting: Option<BTreeMap<u64, Ask>>,
    /// How many have waited.
    count: u64,
    /// What is to be published, in the order it came.
    publications: VecDeque<Queued>,
    /// The error that ends the start.
    fatal: Option<OpenError>,
    ends: bool,
    has_ended: bool,
}

/// How it stands with the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    /// Its file is looked for.
    Looking,
    /// It is being read.
    Reading,
    /// It cannot be; why.
    Failing(String),
    /// It is there, or nobody waits for it any more.
    Over,
}

/// A publication that waits for the log.
struct Queued {
    publication: Publication,
    room: OwnedSemaphorePermit,
    since: Moment,
    answer: oneshot::Sender<Publishing>,
}

/// What somebody who waits wants.
struct Ask {
    channels: Vec<Channel>,
    last_event_id: Option<String>,
    replay: Replay,
    role: Role,
    subject: Option<Subject>,
    asked_at: Option<u64>,
    reader: ReaderId,
    answer: oneshot::Sender<Result<Subscribed, Refused>>,
}

/// Somebody's place among those who wait for the log. Ready once it is there, with what
/// [`Broker::subscribe`] says; given up when it is dropped.
pub struct Waiting {
    shared: Arc<Lobby>,
    number: u64,
    answer: oneshot::Receiver<Result<Subscribed, Refused>>,
}

impl Future for Waiting {
    type Output = Result<Subscribed, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(going_down())))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(waiting) = &mut self.shared.lock().waiting {
            waiting.remove(&self.number);
        }
    }
}

/// A log that is being read, in words for who asks for it.
fn being_read() -> String {
    "the log is being read at the start; try again in a moment".into()
}

impl Opening {
    pub(super) fn new() -> Self {
        let state = State {
            waiting: Some(BTreeMap::new()),
            count: 0,
            publications: VecDeque::new(),
            fatal: None,
            ends: false,
            has_ended: false,
        };
        let shared = Lobby {
            state: Mutex::new(state),
            changed: Condvar::new(),
            condition: watch::Sender::new(Condition::Looking),
            given_up: Arc::default(),
        };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// Starts the thread that opens the log for `broker`, and waits a moment: what only somebody can set
    /// right ends the start, and a small log is there after it.
    pub(super) fn start(
        &self,
        folder: PathBuf,
        settings: Settings,
        broker: &Arc<Broker>,
    ) -> Result<(), OpenError> {
        let begun = Instant::now();
        let path = folder.clone();
        let shared = Arc::clone(&self.shared);
        let opener = Opener { shared, folder, settings, broker: Arc::downgrade(broker) };
        let thread = std::thread::Builder::new()
            .name("log-opener".into())
            .spawn(moment::on_the_same_clock(move || opener.run()))
            .map_err(|cause| OpenError::Io { path, cause })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);

        let mut state = self.shared.lock();
        loop {
            let patience = match &*self.shared.condition.borrow() {
                Condition::Looking => LOOK,
                Condition::Reading => GLANCE,
                Condition::Failing(_) | Condition::Over => Duration::ZERO,
            };
            let left = patience.saturating_sub(begun.elapsed());
            if state.fatal.is_some() || left.is_zero() {
                break;
            }
            state = self.shared.wait(state, left);
        }
        match state.fatal.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether the log is there, or nobody waits for it any more.
    pub(super) fn is_over(&self) -> bool {
        *self.shared.condition.borrow() == Condition::Over
    }

    /// Why the log is not there, in words for who asks for it.
    pub(super) fn why(&self) -> String {
        match &*self.shared.condition.borrow() {
            Condition::Failing(why) => why.clone(),
            _ => being_read(),
        }
    }

    /// The error that ends the start, if there is one that came when the start had gone on already.
    pub(super) fn take_fatal(&self) -> Option<OpenError> {
        self.shared.lock().fatal.take()
    }

    /// Waits for a log that is well.
    pub(super) fn condition(&self) -> watch::Receiver<Condition> {
        self.shared.condition.subscribe()
    }

    /// A place among the publications that wait; the publication again, if there is nothing to wait for.
    pub(super) fn queue(
        &self,
        publication: Publication,
        room: OwnedSemaphorePermit,
    ) -> ControlFlow<Publishing, (Publication, OwnedSemaphorePermit)> {
        let mut state = self.shared.lock();
        if state.waiting.is_none() {
            return match state.ends {
                true => ControlFlow::Break(Publishing::Done(None)),
                false => ControlFlow::Continue((publication, room)),
            };
        }
        if let Condition::Failing(why) = &*self.shared.condition.borrow() {
            return ControlFlow::Break(Publishing::Done(Some(Err(Refused::Store(why.clone())))));
        }
        let (answer, queued) = oneshot::channel();
        state.publications.push_back(Queued { publication, room, since: Moment::now(), answer });
        ControlFlow::Break(Publishing::Queued(queued))
    }

    /// Refuses what has waited for too long.
    pub(super) fn sweep(&self, now: Moment) {
        let mut state = self.shared.lock();
        while let Some(queued) = state.publications.pop_front_if(|queued| now.since(queued.since) >= PATIENCE)
        {
            queued.refuse(being_read());
        }
    }

    /// A place among those who wait, if there is something to wait for still.
    pub(super) fn wait(&self, wish: Wish<'_>) -> Option<Waiting> {
        let Wish { channels, since, role, subject, asked_at, reader } = wish;
        let mut state = self.shared.lock();
        let number = state.count;
        let (sender, answer) = oneshot::channel();
        let ask = Ask {
            channels: channels.to_vec(),
            last_event_id: since.last_event_id.map(Into::into),
            replay: since.replay,
            role,
            subject: subject.cloned(),
            asked_at,
            reader,
            answer: sender,
        };
        state.waiting.as_mut()?.insert(number, ask);
        state.count += 1;
        drop(state);
        Some(Waiting { shared: Arc::clone(&self.shared), number, answer })
    }

    /// Nobody waits any longer, and what is being read is given up.
    pub(super) fn give_up(&self) {
        let mut state = self.shared.lock();
        state.ends = true;
        // Who still waits is told.
        let waiting = state.waiting.take();
        let publications = std::mem::take(&mut state.publications);
        if waiting.is_some() {
            self.shared.given_up.store(true, Ordering::Relaxed);
            self.shared.condition.send_replace(Condition::Over);
        }
        drop((state, waiting, publications));
        self.shared.changed.notify_all();
    }

    /// The same. Blocks until the thread has ended, unless the disk hangs.
    pub(super) fn close(&self) {
        self.give_up();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // The thread itself may be the last to let go of the broker.
        if thread.thread().id() == std::thread::current().id() {
            return;
        }
        let begun = Instant::now();
        let mut state = self.shared.lock();
        while !state.has_ended && begun.elapsed() < LAST_PATIENCE {
            state = self.shared.wait(state, LAST_PATIENCE.saturating_sub(begun.elapsed()));
        }
        let has_ended = state.has_ended;
        drop(state);
        if has_ended {
            let _ = thread.join();
        }
    }

    /// Takes up a store that a test has opened.
    #[cfg(test)]
    pub(super) fn take_up(
        &self,
        broker: &Arc<Broker>,
        settings: &Settings,
        disk: Disk,
        log: Log,
    ) -> io::Result<usize> {
        let shared = Arc::clone(&self.shared);
        let (folder, settings, weak) = (PathBuf::new(), settings.clone(), Arc::downgrade(broker));
        Opener { shared, folder, settings, broker: weak }.take_up(broker, disk, log)
    }

    /// Waits until the log is there or it is known that it cannot be.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let mut state = self.shared.lock();
        while matches!(&*self.shared.condition.borrow(), Condition::Looking | Condition::Reading) {
            state = self.shared.wait(state, PAUSE);
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queued {
    fn refuse(self, why: String) {
        let _ = self.answer.send(Publishing::Done(Some(Err(Refused::Store(why)))));
    }
}

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets so much time pass; whether it is time to end.
    fn ends_within(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, pause, |state| !state.ends);
        waited.unwrap_or_else(PoisonError::into_inner).0.ends
    }

    /// Sets how it stands, unless it is over.
    fn note(&self, condition: Condition) {
        // Whoever queues a publication looks at it while the state is locked.
        let state = self.lock();
        if !state.ends {
            self.condition.send_replace(condition);
        }
        drop(state);
        self.changed.notify_all();
    }
}

struct Opener {
    shared: Arc<Lobby>,
    folder: PathBuf,
    settings: Settings,
    broker: Weak<Broker>,
}

impl Opener {
    fn run(self) {
        self.open_some_day();
        self.shared.lock().has_ended = true;
        self.shared.changed.notify_all();
    }

    fn open_some_day(&self) {
        let mut pauses = PAUSES.into_iter();
        loop {
            let begun = Instant::now();
            let Err(error) = self.open() else { return };
            if self.shared.ends_within(Duration::ZERO) {
                return;
            }
            if !error.may_pass() && self.is_start() {
                let why = error.to_string();
                self.shared.lock().fatal = Some(error);
                self.refuse_all(&why);
                return;
            }
            let pause = match pauses.next().filter(|_| error.may_pass()) {
                Some(pause) => {
                    tracing::warn!(%error, "trying again");
                    pause
                }
                None => {
                    self.fail(&error);
                    // Reading a large file again and again is no help to a disk that is ill.
                    PAUSE.max(4 * begun.elapsed())
                }
            };
            if self.shared.ends_within(pause) {
                return;
            }
        }
    }

    /// Whether nobody has been told yet that the log cannot be opened.
    fn is_start(&self) -> bool {
        matches!(&*self.shared.condition.borrow(), Condition::Looking | Condition::Reading)
    }

    /// Takes note of an error, and refuses what waits.
    fn fail(&self, error: &OpenError) {
        let why = error.to_string();
        let before = self.shared.condition.borrow().clone();
        match before {
            Condition::Over => return,
            Condition::Failing(before) if before == why => return,
            Condition::Failing(_) => tracing::error!(%error, "the log still cannot be opened"),
            Condition::Looking | Condition::Reading => tracing::error!(
                %error,
                "the log cannot be opened: until it can, publishes are refused and streams wait; the site goes \
                 on. It is tried again all the time; see to the disk, no restart is needed"
            ),
        }
        self.refuse_all(&why);
    }

    fn refuse_all(&self, why: &str) {
        self.shared.note(Condition::Failing(why.to_owned()));
        let refused = std::mem::take(&mut self.shared.lock().publications);
        refused.into_iter().for_each(|queued| queued.refuse(why.to_owned()));
    }

    fn open(&self) -> Result<(), OpenError> {
        let begun = Instant::now();
        let on_lock = || {
            if *self.shared.condition.borrow() == Condition::Looking {
                self.shared.note(Condition::Reading);
            }
        };
        let watcher = Watcher { given_up: Arc::clone(&self.shared.given_up), on_lock: &on_lock };
        let (disk, log) = Disk::open(&self.folder, &self.settings, watcher)?;
        let path = disk.path().to_owned();
        let Some(broker) = self.broker.upgrade() else { return Ok(()) };
        let waited = self.take_up(&broker, disk, log).map_err(|cause| OpenError::Io { path, cause })?;
        if begun.elapsed() > GLANCE || waited > 0 {
            tracing::info!(
                streams = waited, took = ?begun.elapsed(),
                "the log is open: publishes are taken, and who waited has its stream"
            );
        }
        Ok(())
    }

    /// Puts the log that was read in the place of the empty one, and lets those in who wait; how many.
    fn take_up(&self, broker: &Arc<Broker>, disk: Disk, log: Log) -> io::Result<usize> {
        // The disk is well: what is published from now on waits for those who come before it.
        self.shared.note(Condition::Reading);
        broker.put_in_place(log);
        let epoch = broker.lock().epoch.clone();
        let writer = Writer::start(disk, Arc::clone(&broker.shared))?;
        let engine = OnDisk { shared: Arc::clone(&broker.shared), writer, stored: self.settings.stored };
        let _ = broker.epoch.set(epoch.clone());
        let mut count = 0;
        loop {
            let mut state = self.shared.lock();
            let Some(waiting) = &mut state.waiting else { return Ok(count) };
            let asks: Vec<Ask> =
                std::iter::from_fn(|| waiting.pop_first()).take(PORTION).map(|(_, ask)| ask).collect();
            if asks.is_empty() {
                // Only now are publications taken: those that wait, in their order, and then others. A few
                // are left when nobody can come in between.
                let is_last = state.publications.len() <= PORTION;
                let some = state.publications.len().min(PORTION);
                let queued: Vec<Queued> = state.publications.drain(..some).collect();
                let state = if is_last {
                    Some(state)
                } else {
                    drop(state);
                    None
                };
                for Queued { publication, room, answer, .. } in queued {
                    let _ = answer.send(engine.append(publication.write(&epoch), room));
                }
                if let Some(mut state) = state {
                    state.waiting = None;
                    // What was there may end with this, and that needs the state.
                    let before = broker.home.swap(Arc::new(Home::Open(Box::new(engine))));
                    self.shared.condition.send_replace(Condition::Over);
                    drop(state);
                    drop(before);
                    self.shared.changed.notify_all();
                    return Ok(count);
                }
                continue;
            }
            drop(state);
            count += asks.len();
            for Ask { channels, last_event_id, replay, role, subject, asked_at, reader, answer } in asks {
                let since = Since { last_event_id: last_event_id.as_deref(), replay };
                let (channels, subject) = (&channels[..], subject.as_ref());
                let wish = Wish { channels, since, role, subject, asked_at, reader };
                let subscribed = Subscription::open(&broker.shared, &mut broker.lock(), wish);
                // Whoever has left does not want it; nothing is locked that its drop needs.
                drop(answer.send(subscribed));
            }
        }
    }
}
