//! A log whose disk fails while outboard starts.
//!
//! The site must not be down for it, and nobody may be told anything of a log that has not been read: an
//! empty one in its place would have another epoch, so that every client that comes back would be told of
//! a gap that is none, and the next event would get a number that is taken. So until the log is there,
//! publications are refused, and whoever wants to listen waits; the file is tried again and again. When it
//! is read, those who wait become subscribers, each from the id it came with, before the first publication
//! is taken: they miss nothing and are told of no gap that is not there.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::log::Log;
use super::moment;
use super::publication::Refused;
use super::reader::ReaderId;
use super::selection::Role;
use super::settings::Settings;
use super::store::OpenError;
use super::store::disk::Disk;
use super::store::writer::Writer;
use super::subscription::{Since, Subscribed, Wish};
use super::{Broker, going_down};
use crate::channel::Channel;
use crate::replay::Replay;
use crate::subject::Subject;

/// How long a file that cannot be opened is left alone. For longer, if the try takes long.
const PAUSE: Duration = Duration::from_secs(1);

/// Who waits for the log, and the thread that opens it.
pub(super) struct Away {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    /// Rung when it is time to end.
    ending: Condvar,
}

struct State {
    /// Who waits, in the order they came; `None` once the log is there.
    waiting: Option<BTreeMap<u64, Ask>>,
    /// How many have waited.
    count: u64,
    /// Why the log is not there.
    why: String,
    ends: bool,
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
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Subscribed, Refused>;

/// Somebody's place among those who wait for the log. Ready once it is there, with what
/// [`Broker::subscribe`] says; given up when it is dropped.
pub struct Waiting {
    shared: Arc<Shared>,
    number: u64,
    answer: oneshot::Receiver<Answer>,
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

impl Away {
    /// For a log that could not be opened because of `error`.
    pub(super) fn new(error: &OpenError) -> Self {
        tracing::error!(
            %error,
            "the log cannot be opened: until it can, publishes are refused and streams wait; the site goes \
             on. It is tried again all the time; see to the disk, no restart is needed"
        );
        let why = error.to_string();
        let state = Mutex::new(State { waiting: Some(BTreeMap::new()), count: 0, why, ends: false });
        Self { shared: Arc::new(Shared { state, ending: Condvar::new() }), thread: Mutex::default() }
    }

    /// Starts the thread that tries to open the log for `broker`.
    pub(super) fn start(&self, folder: PathBuf, settings: Settings, broker: Weak<Broker>) -> io::Result<()> {
        let opener = Opener { shared: Arc::clone(&self.shared), folder, settings, broker };
        let thread = std::thread::Builder::new()
            .name("log-opener".into())
            .spawn(moment::on_the_same_clock(move || opener.run()))?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Why the log is not there, in words for who asks for it.
    pub(super) fn why(&self) -> String {
        self.shared.lock().why.clone()
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

    /// Gives up. Blocks until a try that is under way has ended.
    pub(super) fn close(&self) {
        let mut state = self.shared.lock();
        state.ends = true;
        // Who still waits is told.
        let waiting = state.waiting.take();
        drop((state, waiting));
        self.shared.ending.notify_all();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // The thread itself may be the last to let go of the broker.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so much time pass; whether it is time to end.
    fn ends_within(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.ending.wait_timeout_while(state, pause, |state| !state.ends);
        waited.unwrap_or_else(PoisonError::into_inner).0.ends
    }

    fn note(&self, error: &OpenError) {
        let why = error.to_string();
        let mut state = self.lock();
        if state.why != why {
            tracing::error!(%error, "the log still cannot be opened");
            state.why = why;
        }
    }
}

struct Opener {
    shared: Arc<Shared>,
    folder: PathBuf,
    settings: Settings,
    broker: Weak<Broker>,
}

impl Opener {
    fn run(self) {
        let mut pause = PAUSE;
        while !self.shared.ends_within(pause) {
            let begun = Instant::now();
            match self.open() {
                Ok(()) => return,
                Err(error) => self.shared.note(&error),
            }
            // Reading a large file again and again is no help to a disk that is ill.
            pause = PAUSE.max(4 * begun.elapsed());
        }
    }

    fn open(&self) -> Result<(), OpenError> {
        let (disk, log) = Disk::open(&self.folder, &self.settings)?;
        let path = disk.path().to_owned();
        let Some(broker) = self.broker.upgrade() else { return Ok(()) };
        let waited = self.take_up(&broker, disk, log).map_err(|cause| OpenError::Io { path, cause })?;
        tracing::info!(
            streams = waited,
            "the log is open: publishes are taken, and who waited has its stream"
        );
        Ok(())
    }

    /// Puts the log that was read in the place of the empty one, and lets those in who wait; how many.
    fn take_up(&self, broker: &Arc<Broker>, disk: Disk, mut read: Log) -> io::Result<usize> {
        let writer = Writer::start(disk, Arc::clone(&broker.shared))?;
        let mut state = self.shared.lock();
        let mut log = broker.lock();
        // It may have been told of other limits meanwhile.
        read.reconfigure(&log.settings);
        let epoch = read.epoch.clone();
        *log = read;
        let answered: Vec<_> = state
            .waiting
            .take()
            .unwrap_or_default()
            .into_values()
            .map(|Ask { channels, last_event_id, replay, role, subject, asked_at, reader, answer }| {
                let since = Since { last_event_id: last_event_id.as_deref(), replay };
                let (channels, subject) = (&channels[..], subject.as_ref());
                let wish = Wish { channels, since, role, subject, asked_at, reader };
                (answer, broker.subscribe_in(&mut log, wish))
            })
            .collect();
        drop(log);
        // Only now are publications taken.
        let _ = broker.epoch.set(epoch);
        let _ = broker.writer.set(writer);
        drop(state);
        let count = answered.len();
        for (answer, subscribed) in answered {
            // Whoever has left does not want it; nothing is locked that its drop needs.
            drop(answer.send(subscribed));
        }
        Ok(count)
    }
}
