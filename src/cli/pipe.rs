//! `outboard pipe`: every line of standard input becomes an event, and the job never hears of it.
//!
//! A thread of its own reads standard input, whatever happens, and puts the lines into the [`Spool`], which is
//! bounded. The other side sends what is in there, without waiting for the replies to what was sent before.
//! When outboard goes away, what has no reply yet is sent again when it is back, in the same order, and the
//! key of each line keeps it from being published twice. A job is never stopped by a full pipe, by SIGPIPE or
//! by our exit before its end; what could not be published is counted, and said at the end.

mod input;
mod lines;
mod progress;
mod spool;

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::arguments::Pipe;
use super::{Usage, block_on, outboard, output};
use crate::client::publisher::{Draft, Frames, Publisher, Replies, Reply};
use crate::client::{Fault, Outboard};
use crate::event::Event;
pub(super) use input::swallow;
use lines::{Line, Lines};
use progress::Progress;
use spool::Spool;

/// How long a reply may take before the connection is taken for dead.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two attempts to reach outboard: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) fn pipe(options: &Pipe) -> anyhow::Result<ExitCode> {
    let mut template = Event::default();
    template
        .set_name(options.event.as_deref().unwrap_or_default())
        .map_err(|error| Usage(format!("--event: {error}")))?;
    let outboard = outboard(&options.place)?;
    let (spool, _) = watch::channel(Spool::of(options.spool.bytes()));
    let (gets_on, room) = sync_channel(1);
    let drafts = Drafts { options: options.clone(), template, run: run_key(), count: 0 };
    let reader = Reader { spool: spool.clone(), drafts, room };
    std::thread::Builder::new().name("input".into()).spawn(move || reader.run())?;

    let work = Work { outboard, spool, wait: options.wait.into(), gets_on };
    let lost = block_on(work.run())??;
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A word that no other run has.
fn run_key() -> String {
    crate::event::Epoch::random().as_str().into()
}

/// Makes frames of lines.
struct Drafts {
    options: Pipe,
    /// An event with the name that all have.
    template: Event,
    run: String,
    count: u64,
}

impl Drafts {
    fn line(&self, text: &str) -> Vec<u8> {
        let mut event = self.template.clone();
        event.set_data(text);
        let draft = Draft {
            channel: self.options.channel.clone(),
            event: Some(event),
            close: false,
            ttl: None,
            dedupe: Some(format!("{}-{}", self.run, self.count)),
        };
        draft.encode()
    }

    fn close(&self) -> Vec<u8> {
        let channel = self.options.channel.clone();
        Draft { channel, event: None, close: true, ttl: None, dedupe: None }.encode()
    }
}

/// The side of the job.
struct Reader {
    spool: watch::Sender<Spool>,
    drafts: Drafts,
    /// Hears that there may be room again.
    room: Receiver<()>,
}

impl Reader {
    fn run(mut self) {
        let mut lines = Lines::of(input::Input { tee: self.drafts.options.tee });
        let mut repaired = false;
        while let Some(line) = lines.next() {
            self.drafts.count += 1;
            let number = self.drafts.count;
            match line {
                Line::Text { text, repaired: now } => {
                    if now && !std::mem::replace(&mut repaired, true) {
                        output::say(&format!(
                            "outboard: line {number} is not UTF-8 and is read as Latin-1, as are others like it"
                        ));
                    }
                    self.add(self.drafts.line(&text));
                }
                Line::TooLong => {
                    let longest = lines::LONGEST;
                    output::say(&format!(
                        "outboard: line {number} is longer than {longest} bytes and was left out"
                    ));
                    self.spool.send_modify(|spool| spool.lost += 1);
                }
            }
        }
        self.spool.send_modify(|spool| {
            if self.drafts.options.close {
                spool.push_close(self.drafts.close());
            }
            spool.ended = Some(Instant::now());
        });
    }
}

impl Reader {
    /// Adds a line, for which there is room, or will be, or older lines make some.
    fn add(&self, frame: Vec<u8>) {
        loop {
            let until = self.spool.borrow().wait_for_room(&frame);
            let Some(left) = until.map(|until| until.saturating_duration_since(Instant::now())) else {
                break;
            };
            // Woken early or late: it is asked again.
            let _ = self.room.recv_timeout(left);
        }
        self.spool.send_modify(|spool| spool.push_line(frame));
    }
}

/// The side of outboard.
struct Work {
    outboard: Outboard,
    spool: watch::Sender<Spool>,
    /// How long outboard is waited for once the input has ended.
    wait: Duration,
    /// Wakes a job that waits for room.
    gets_on: SyncSender<()>,
}

/// Why a connection is over, with what it has brought.
struct Broken {
    fault: Fault,
    answered: bool,
}

impl Work {
    /// Publishes until the input has ended and nothing is left, or outboard has been away for too long after
    /// that. How many lines were lost or refused.
    async fn run(self) -> anyhow::Result<u64> {
        let mut signals = Signals::listen()?;
        let mut progress = Progress::new();
        let (heard, last_heard) = watch::channel(Instant::now());
        let mut fault = None;
        let gave_up = tokio::select! {
            // All is done before anything else is looked at.
            biased;
            () = until(&self.spool, Spool::is_done) => None,
            () = signals.second() => Some("ended by a signal"),
            () = self.too_late(last_heard) => Some("gave up"),
            never = self.publish(&mut progress, &heard, &mut fault) => match never {},
        };
        progress.finish();
        let (left, lost) = {
            let spool = self.spool.borrow();
            (spool.lines(), spool.lost)
        };
        let all = left + lost;
        if all > 0 {
            let why = match (&fault, gave_up) {
                (Some(fault), Some(why)) => format!("{why}; {fault}"),
                (None, Some(why)) => format!("{why}; outboard has not answered"),
                (_, None) => "they were too long, or the oldest of more than --spool holds".into(),
            };
            output::say(&format!("outboard: {all} {} lost: {why}", progress::lines_were(all)));
        } else if gave_up.is_some() {
            output::say("outboard: the channel was not closed: outboard has not answered");
            return Ok(1);
        }
        Ok(all + progress.refused)
    }

    /// Returns once the input has ended and nothing has been answered for too long since.
    async fn too_late(&self, mut last_heard: watch::Receiver<Instant>) {
        until(&self.spool, |spool| spool.ended.is_some()).await;
        let ended = self.spool.borrow().ended.unwrap_or_else(Instant::now);
        loop {
            let due = (*last_heard.borrow_and_update()).max(ended) + self.wait;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Publishes for ever, over one connection after the other.
    async fn publish(
        &self,
        progress: &mut Progress,
        heard: &watch::Sender<Instant>,
        last_fault: &mut Option<Fault>,
    ) -> std::convert::Infallible {
        let mut pause = PAUSES.0;
        loop {
            // Nobody is looked for as long as there is nothing to tell.
            until(&self.spool, Spool::may_send).await;
            let fault = match self.outboard.publisher().await {
                Ok(publisher) => {
                    let broken = self.session(publisher, progress, heard).await;
                    if broken.answered {
                        pause = PAUSES.0;
                    }
                    broken.fault
                }
                Err(fault) => fault,
            };
            self.spool.send_modify(Spool::start_again);
            let _ = self.gets_on.try_send(());
            progress.away(&fault);
            *last_fault = Some(fault);
            let (ended, lines) = {
                let spool = self.spool.borrow();
                (spool.ended.is_some(), spool.lines())
            };
            if ended {
                progress.waiting(lines, self.wait);
                sleep(pause).await;
            } else {
                // The end of the input is told when it comes, while outboard is away as well.
                let _ = timeout(pause, until(&self.spool, |spool| spool.ended.is_some())).await;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Publishes over one connection, until it breaks.
    async fn session(
        &self,
        publisher: Publisher,
        progress: &mut Progress,
        heard: &watch::Sender<Instant>,
    ) -> Broken {
        let Publisher { mut frames, mut replies } = publisher;
        let mut answered = false;
        let fault = tokio::select! {
            fault = self.send(&mut frames) => fault,
            fault = self.take(&mut replies, progress, heard, &mut answered) => fault,
        };
        Broken { fault, answered }
    }

    async fn send(&self, frames: &mut Frames) -> Fault {
        loop {
            until(&self.spool, Spool::may_send).await;
            let mut lot = Vec::new();
            self.spool.send_modify(|spool| lot = spool.next_lot());
            if let Err(fault) = frames.send(&lot).await {
                return fault;
            }
        }
    }

    async fn take(
        &self,
        replies: &mut Replies,
        progress: &mut Progress,
        heard: &watch::Sender<Instant>,
        answered: &mut bool,
    ) -> Fault {
        loop {
            until(&self.spool, Spool::is_waiting).await;
            let reply = match timeout(REPLY_TIMEOUT, replies.next()).await {
                Ok(reply) => reply,
                Err(_) => return Fault::Silent,
            };
            let receivers = match reply {
                Ok(Reply::Published { receivers, .. }) => Some(receivers),
                Ok(Reply::Done) => None,
                Err(fault @ Fault::Refused { .. }) if !fault.is_passing() => {
                    progress.refuse(&format!("a line was refused: {fault}"));
                    None
                }
                Err(fault) => return fault,
            };
            if !std::mem::replace(answered, true) {
                progress.back(self.spool.borrow().lost);
            }
            heard.send_replace(Instant::now());
            self.spool.send_modify(|spool| {
                spool.answered();
            });
            // One that is waiting there already is as good.
            let _ = self.gets_on.try_send(());
            if let Some(receivers) = receivers {
                progress.published(receivers);
            }
        }
    }
}

/// Waits until the spool is so.
async fn until(spool: &watch::Sender<Spool>, is: impl FnMut(&Spool) -> bool) {
    // The sender is ours too, so that the channel never closes.
    let _ = spool.subscribe().wait_for(is).await;
}

/// The signals that the terminal or an operator sends to the job as well: the first one is its own affair,
/// and its last lines are published.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // Heard once is heard for good, and then ignored: the job may go on without its terminal.
        drop(signal(SignalKind::hangup())?);
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    }

    async fn second(&mut self) {
        self.next().await;
        output::say("outboard: the lines go on until the input ends; a second signal ends it at once");
        self.next().await;
    }
}
