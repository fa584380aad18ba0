//! The one thread that writes the store: it takes what is waiting, writes it in one step, and only
//! then makes it part of the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::Disk;
use super::fault::DiskFault;
use super::{Batch, Rows, StoredEvent};
use crate::broker::log::{Draft, Log};
use crate::broker::moment::{self, Moment};
use crate::broker::publication::{Level, Receipt, Refused, Written};
use crate::broker::shared_log::{SharedLog, keep_to_total};
use crate::channel::Channel;
use crate::event::EventId;
use crate::vital;

/// What became of a publication, once it is known.
pub(in crate::broker) type Outcome = Result<Receipt, Refused>;

/// What waits to be written.
pub(in crate::broker) enum Job {
    /// To be acknowledged, and seen, once it is on disk.
    Publish(Written, oneshot::Sender<Outcome>, OwnedSemaphorePermit),
    /// Acknowledged and seen already.
    Keep(Option<StoredEvent>, Rows, OwnedSemaphorePermit),
    /// The last one: write what is left and close the file.
    Close,
}

/// The most publications in one step.
const MOST: usize = 1024;
/// The most bytes in one step; the first publication counts whatever its size.
const MOST_BYTES: usize = 8 << 20;
/// How long the thread waits for publishers that it has just served to come back: each step costs a
/// sync, and those who write in turns with it would else have two steps each.
const GATHER: Duration = Duration::from_micros(200);
/// How often what has left the log is deleted from disk while nothing is published.
const TIDY: Duration = Duration::from_secs(1);
/// So much that the disk has not been told is worth a part in any step.
const MANY: usize = 1024;
/// How much is done in one go while everybody else waits for the log.
const PORTION: usize = 256;
/// How many portions of what the disk has not been told a step takes, beside its publications.
const PORTIONS: usize = 8;
/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The writer, from outside.
pub(in crate::broker) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    writable: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread.
    pub(in crate::broker) fn start(disk: Disk, shared: Arc<SharedLog>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let writable = Arc::new(AtomicBool::new(true));
        // A small file has no room for a large step.
        let most_bytes = MOST_BYTES.min(shared.lock().settings.total_bytes / 4);
        let head = shared.lock().head;
        shared.lock().note_written(head);
        let thread = Thread {
            disk,
            shared,
            waiting,
            writable: Arc::clone(&writable),
            failed: None,
            is_crowded: false,
            hurries: false,
            last: 0,
            more: false,
            head,
            most_bytes,
            lossy: false,
        };
        let thread = vital::spawn("log-writer", moment::on_the_same_clock(move || thread.run()))?;
        Ok(Self { jobs, thread: Mutex::new(Some(thread)), writable })
    }

    /// Hands the thread something to do.
    pub(in crate::broker) fn send(&self, job: Job) {
        // It ends only after `Close`; who publishes after that learns from the dropped answer.
        let _ = self.jobs.send(job);
    }

    /// Whether the last step went well.
    pub(in crate::broker) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Writes what is left and closes the file. Blocks until that is done.
    pub(in crate::broker) fn close(&self) {
        self.send(Job::Close);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Thread {
    disk: Disk,
    shared: Arc<SharedLog>,
    waiting: mpsc::Receiver<Job>,
    writable: Arc<AtomicBool>,
    /// When the store failed last, if it has not been opened since.
    failed: Option<Instant>,
    /// Whether the file has reached its bound.
    is_crowded: bool,
    /// Whether it is to be opened without a pause: the disk is well.
    hurries: bool,
    /// How many publications the last step had.
    last: usize,
    /// Whether there is more to tell the disk than was told it in the last step.
    more: bool,
    /// The log's head as the disk has it.
    head: u64,
    /// The most bytes in one step.
    most_bytes: usize,
    /// Whether something that was acknowledged as accepted did not get to the disk.
    lossy: bool,
}

/// Publications on their way to disk, with who waits for them.
#[derive(Default)]
struct Step {
    jobs: Vec<Job>,
    bytes: usize,
    /// The publications and their channels.
    work: usize,
    closes: bool,
}

impl Thread {
    fn run(mut self) {
        loop {
            let step = self.gather();
            let closes = step.closes;
            self.write(step);
            while closes && self.more && self.failed.is_none() {
                self.write(Step::default());
            }
            if closes {
                // With a loss the file stays marked as open, so that the next start begins a new epoch.
                if !self.lossy
                    && let Err(error) = self.disk.close()
                {
                    tracing::error!(path = %self.disk.path().display(), %error, "the log was not closed cleanly");
                }
                return;
            }
        }
    }

    /// Waits for something to do, then takes what there is.
    fn gather(&mut self) -> Step {
        let mut step = Step::default();
        let pause = if self.more && self.failed.is_none() { Duration::ZERO } else { TIDY };
        match self.waiting.recv_timeout(pause) {
            Ok(job) => step.add(job),
            Err(RecvTimeoutError::Timeout) => return step,
            Err(RecvTimeoutError::Disconnected) => step.closes = true,
        }
        let until = Instant::now() + GATHER;
        while !step.is_full(self.most_bytes) {
            match self.waiting.try_recv() {
                Ok(job) => step.add(job),
                // As many as last time are there, or it is one publisher alone: no use in waiting.
                Err(_) if step.jobs.len() >= self.last || self.last <= 1 => break,
                Err(_) => match self.waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(job) => step.add(job),
                    Err(_) => break,
                },
            }
        }
        self.last = step.jobs.len();
        step
    }

    fn write(&mut self, step: Step) {
        if let Err(refused) = self.open_again() {
            return self.refuse(step.jobs, &refused);
        }
        let (mut batch, drafts) = self.prepare(step.jobs);
        self.tidy(&mut batch, drafts.is_empty(), step.work);
        // Endings that take nothing else to the disk have numbers too, which must not be given out again.
        let is_news = !batch.is_empty() || batch.head > self.head;
        if is_news && let Err(fault) = self.disk.write(&batch) {
            let refused = self.fail(&fault);
            self.lossy |= drafts.is_empty() && !batch.events.is_empty();
            self.shared.lock().note_not_written();
            self.put_back(batch);
            drafts.into_iter().for_each(|(_, answer)| drop(answer.send(Err(refused.clone()))));
            return;
        }
        self.head = batch.head;
        self.commit(drafts);
    }

    /// Checks and numbers what is to be published, as if all before it were in the log already.
    fn prepare(&self, jobs: Vec<Job>) -> (Batch, Vec<(Draft, oneshot::Sender<Outcome>)>) {
        let (now, time) = (Moment::now(), moment::time());
        let mut batch = Batch::default();
        let mut drafts = Vec::with_capacity(jobs.len());
        let mut keys: HashMap<(Channel, Box<str>), EventId> = HashMap::new();
        let mut log = self.shared.lock();
        let mut next = log.head + 1;
        let mut ends_some = false;
        let mut portion = Portion::default();
        for job in jobs {
            portion.add(job.work(), &mut log);
            match job {
                Job::Keep(event, rows, _room) => {
                    batch.events.extend(event);
                    log.add_rows(rows, &mut batch.rows);
                }
                Job::Close => {}
                Job::Publish(publication, answer, _room) => {
                    let first = publication.dedupe.as_ref().and_then(|key| {
                        let names = publication.channels.iter();
                        names.filter_map(|name| keys.get(&(name.clone(), key.clone()))).next().cloned()
                    });
                    let dedupe = publication.dedupe.clone();
                    match log.check(publication, now) {
                        Err(refused) => drop(answer.send(Err(refused))),
                        Ok(checked) => {
                            let draft = checked.unless(first).number(next, now, time);
                            if let Some(mut event) = log.stored(&draft) {
                                // Those who are there now may be gone before it is published; then it
                                // is better seen twice than by nobody.
                                if ends_some {
                                    event.handed = 0;
                                }
                                if let Some(key) = dedupe {
                                    let id = log.id_of(&draft);
                                    let names = event.channels.iter().cloned();
                                    keys.extend(names.map(|name| ((name, key.clone()), id.clone())));
                                }
                                batch.events.push(event);
                            }
                            next += draft.numbers();
                            let rows = log.rows_after(&draft, &batch.rows);
                            log.add_rows(rows, &mut batch.rows);
                            ends_some |= draft.close || !draft.disconnect.is_empty();
                            drafts.push((draft, answer));
                        }
                    }
                }
            }
        }
        batch.head = next - 1;
        (batch, drafts)
    }

    /// Adds what else has changed in the log, if it is much or if there is nothing else to do: more than the
    /// publications of one step can cause, so that it does not pile up, and not so much that publishers
    /// wait for it.
    fn tidy(&mut self, batch: &mut Batch, idle: bool, work: usize) {
        self.more = false;
        let mut log = self.shared.lock();
        if let Some(last) = batch.events.last() {
            log.note_written(last.sequence);
        }
        if !idle && log.untold() < MANY && log.dead_bytes() < self.most_bytes {
            return;
        }
        for _ in 0..PORTIONS + 2 * work / PORTION {
            self.more = log.take_changes(batch, PORTION);
            if !self.more {
                return;
            }
            MutexGuard::bump(&mut log);
        }
    }

    /// Takes back a batch that could not be written.
    fn put_back(&self, mut batch: Batch) {
        let mut rows = std::mem::take(&mut batch.rows).into_iter();
        let mut log = self.shared.lock();
        log.put_back(batch);
        while rows.len() > 0 {
            let names: Vec<Channel> = rows.by_ref().take(PORTION).map(|(name, _)| name).collect();
            log.note_dirty_names(names.iter());
            MutexGuard::bump(&mut log);
        }
    }

    /// Turns down what was to be written.
    fn refuse(&mut self, jobs: Vec<Job>, refused: &Refused) {
        for job in jobs {
            match job {
                Job::Publish(_, answer, _) => drop(answer.send(Err(refused.clone()))),
                Job::Keep(event, rows, _) => {
                    self.lossy = true;
                    let mut log = self.shared.lock();
                    if let Some(event) = event {
                        log.note_lost(event.sequence);
                    }
                    log.note_dirty_names(rows.keys());
                }
                Job::Close => {}
            }
        }
    }

    /// Makes what is on disk part of the log, and tells those who wait.
    fn commit(&self, drafts: Vec<(Draft, oneshot::Sender<Outcome>)>) {
        if drafts.is_empty() {
            return;
        }
        let now = Moment::now();
        let mut wake = 0;
        let mut receipts = Vec::with_capacity(drafts.len());
        let mut log = self.shared.lock();
        let mut portion = Portion::default();
        for (draft, answer) in drafts {
            portion.add(1 + draft.names.len(), &mut log);
            let (receipt, readers) = log.commit(draft, Level::Stored, now);
            keep_to_total(&mut log);
            wake |= readers;
            receipts.push((receipt, answer));
        }
        let left = log.retention.take_large();
        drop(log);
        drop(left);
        self.shared.ring(wake);
        for (receipt, answer) in receipts {
            // Whoever does not wait any more has published all the same.
            let _ = answer.send(Ok(receipt));
        }
    }

    /// Opens a store that failed, if it was left alone for long enough.
    fn open_again(&mut self) -> Result<(), Refused> {
        let Some(failed) = self.failed else { return Ok(()) };
        if !std::mem::take(&mut self.hurries) && failed.elapsed() < PAUSE {
            return Err(Refused::Store("the log could not be written a moment ago".into()));
        }
        let head = self.shared.lock().head;
        match self.disk.reopen(head).and_then(|()| self.make_room()) {
            Ok(()) => {
                self.failed = None;
                self.writable.store(true, Ordering::Relaxed);
                tracing::info!(path = %self.disk.path().display(), "the log can be written again");
                Ok(())
            }
            Err(fault) => {
                self.failed = Some(Instant::now());
                Err(Refused::Store(fault.to_string()))
            }
        }
    }

    /// If the file has reached its bound: lets the oldest events go before their time, and takes off the disk
    /// what has left the history.
    fn make_room(&mut self) -> Result<(), DiskFault> {
        if !self.is_crowded {
            return Ok(());
        }
        let mut log = self.shared.lock();
        let mut batch = Batch { head: log.head, ..Batch::default() };
        let before = log.retention.total();
        while log.trim_total(before - before / 4) {
            MutexGuard::bump(&mut log);
        }
        let shed = before - log.retention.total();
        for _ in 0..=log.untold() / PORTION {
            log.take_changes(&mut batch, PORTION);
            MutexGuard::bump(&mut log);
        }
        drop(log);
        if let Err(fault) = self.disk.make_room(&batch) {
            self.put_back(batch);
            return Err(fault);
        }
        self.is_crowded = false;
        if shed > 0 {
            tracing::warn!(
                path = %self.disk.path().display(), bytes = shed,
                "the log's file had reached its bound: the oldest events were let go before their time; keep \
                 fewer of them, or raise `total_bytes` in [history]"
            );
        }
        Ok(())
    }

    fn fail(&mut self, fault: &DiskFault) -> Refused {
        self.failed = Some(Instant::now());
        self.writable.store(false, Ordering::Relaxed);
        if fault.is_bound() {
            self.is_crowded = true;
            self.hurries = true;
            tracing::warn!(path = %self.disk.path().display(), %fault, "room is made in the log");
            return Refused::Store(format!("{fault}; room is being made"));
        }
        tracing::error!(
            path = %self.disk.path().display(), %fault,
            "the log cannot be written: publishes are refused until it can; streams and the site go on. Is the disk full?"
        );
        Refused::Store(fault.to_string())
    }
}

/// Counts what is done in one go.
#[derive(Default)]
struct Portion(usize);

impl Portion {
    /// Before something is done that is so much: lets those in who wait for the log, if it is time.
    fn add(&mut self, work: usize, log: &mut MutexGuard<'_, Log>) {
        self.0 += work;
        if self.0 > PORTION {
            self.0 = work;
            MutexGuard::bump(log);
        }
    }
}

impl Job {
    /// Its publication and the channels of that.
    fn work(&self) -> usize {
        match self {
            Self::Publish(publication, ..) => 1 + publication.channels.len(),
            Self::Keep(event, rows, _) => {
                1 + event.as_ref().map_or(0, |event| event.channels.len()) + rows.len()
            }
            Self::Close => 1,
        }
    }
}

impl Step {
    fn add(&mut self, job: Job) {
        self.work += job.work();
        match &job {
            Job::Publish(publication, ..) => self.bytes += publication.size(),
            Job::Keep(event, ..) => self.bytes += event.as_ref().map_or(0, |event| event.block.len()),
            Job::Close => self.closes = true,
        }
        self.jobs.push(job);
    }

    fn is_full(&self, most_bytes: usize) -> bool {
        self.closes || self.jobs.len() >= MOST || self.bytes >= most_bytes
    }
}
