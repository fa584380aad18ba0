//! `outboard pipe`: every line of standard input becomes an event.
//!
//! Lines are sent as they come, without waiting for the replies to those before. What has no reply
//! yet is kept; if outboard goes away it is sent again when it is back, in the same order, and the
//! key of each line keeps it from being published twice. While outboard is away, standard input is
//! not read, so the job waits instead of losing lines.

mod lines;
mod progress;

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::arguments::Pipe;
use super::{Usage, block_on, outboard};
use crate::client::publisher::{Draft, Publisher, Reply, Unanswered};
use crate::client::{Fault, Outboard};
use crate::event::Event;
use lines::{Line, Lines};
use progress::Progress;

/// How long outboard may be away. Shorter than the two minutes for which it knows a line's key.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a reply may take before the connection is taken for dead.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two attempts to reach outboard.
const PAUSE: Duration = Duration::from_millis(250);

pub(super) fn pipe(options: &Pipe) -> anyhow::Result<ExitCode> {
    let mut template = Event::default();
    template
        .set_name(options.event.as_deref().unwrap_or_default())
        .map_err(|error| Usage(format!("--event: {error}")))?;
    let outboard = outboard(&options.place)?;
    let refused = block_on(async {
        let publisher = outboard.publisher().await?;
        let mut work = Work {
            outboard,
            publisher,
            unanswered: Unanswered::default(),
            drafts: Drafts { options, template, run: run_key(), count: 0 },
            progress: Progress::new(),
        };
        work.run(Lines::of_standard_input()).await
    })??;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A word that no other run has.
fn run_key() -> String {
    crate::event::Epoch::random().as_str().into()
}

/// Makes frames of lines.
struct Drafts<'o> {
    options: &'o Pipe,
    /// An event with the name that all have.
    template: Event,
    run: String,
    count: u64,
}

impl Drafts<'_> {
    fn line(&mut self, text: &str) -> Vec<u8> {
        self.count += 1;
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

struct Work<'o> {
    outboard: Outboard,
    publisher: Publisher,
    unanswered: Unanswered,
    drafts: Drafts<'o>,
    progress: Progress,
}

impl Work<'_> {
    /// Publishes all lines and waits for all replies. How many lines were refused.
    async fn run(&mut self, mut lines: Lines) -> Result<u64, Fault> {
        let mut at_end = false;
        let mut last_reply = Instant::now();
        while !at_end || !self.unanswered.is_empty() {
            if self.unanswered.is_empty() {
                last_reply = Instant::now();
            }
            tokio::select! {
                reply = self.publisher.reply(), if !self.unanswered.is_empty() => {
                    last_reply = Instant::now();
                    self.take(reply).await?;
                }
                line = lines.next(), if !at_end && self.unanswered.has_room() => match line {
                    Some(line) => self.send_line(line).await?,
                    None => {
                        at_end = true;
                        if self.drafts.options.close {
                            let frame = self.drafts.close();
                            self.send(frame).await?;
                        }
                    }
                },
                () = sleep_until(last_reply + REPLY_TIMEOUT), if !self.unanswered.is_empty() => {
                    last_reply = Instant::now();
                    self.reconnect(Fault::Silent).await?;
                }
            }
        }
        self.progress.finish();
        Ok(self.progress.refused)
    }

    async fn send_line(&mut self, line: Line) -> Result<(), Fault> {
        match line {
            Line::Text { text, repaired } => {
                let frame = self.drafts.line(&text);
                if repaired {
                    self.progress.repaired(self.drafts.count);
                }
                self.send(frame).await
            }
            Line::TooLong => {
                self.drafts.count += 1;
                self.progress.refuse(&format!(
                    "line {} is longer than {} bytes and was left out",
                    self.drafts.count,
                    lines::LONGEST
                ));
                Ok(())
            }
        }
    }

    async fn send(&mut self, frame: Vec<u8>) -> Result<(), Fault> {
        let sent = self.publisher.send(&frame).await;
        self.unanswered.push(frame);
        match sent {
            Ok(()) => Ok(()),
            Err(fault) => self.reconnect(fault).await,
        }
    }

    async fn take(&mut self, reply: Result<Reply, Fault>) -> Result<(), Fault> {
        match reply {
            Ok(Reply::Published { receivers, .. }) => self.progress.published(receivers),
            Ok(Reply::Done) => {}
            Err(Fault::Refused { code, text }) => {
                self.progress.refuse(&format!("a line was refused: {text} ({code})"));
            }
            Err(fault) => return self.reconnect(fault).await,
        }
        self.unanswered.pop();
        Ok(())
    }

    /// Waits until outboard is back, and sends again what it has not answered.
    async fn reconnect(&mut self, mut fault: Fault) -> Result<(), Fault> {
        let deadline = Instant::now() + PATIENCE;
        self.progress.away(PATIENCE);
        while fault.is_passing() && Instant::now() < deadline {
            match self.send_again().await {
                Ok(()) => {
                    self.progress.back();
                    return Ok(());
                }
                Err(next) => fault = next,
            }
            sleep(PAUSE).await;
        }
        self.progress.finish();
        Err(fault)
    }

    async fn send_again(&mut self) -> Result<(), Fault> {
        let mut publisher = self.outboard.publisher().await?;
        for frame in self.unanswered.frames() {
            publisher.send(frame).await?;
        }
        self.publisher = publisher;
        Ok(())
    }
}
