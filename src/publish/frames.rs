//! One connection that speaks frames.
//!
//! Publishing is done as the frames are read, one after the other; only the replies may take a
//! while, when a log on disk gathers several publishes into one sync. So there are up to
//! [`MOST_IN_FLIGHT`] publishes (and what one read holds beyond) whose receipts are awaited, in order.
//! Reading waits for nothing else: not for the publisher to read, not for anybody else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{self, Future};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::UnixStream;

use super::replies::Replies;
use super::{Api, stop_sending};
use crate::broker::{Broker, Publishing, Receipt};
use crate::drain::Draining;
use crate::event::frame::{Decoder, Frame, FrameError};

/// How many publishes may wait for their receipts before no more is read.
const MOST_IN_FLIGHT: usize = 256;

/// How much is read at a time. One buffer per thread: an idle publisher needs none.
const READ: usize = 32 << 10;

/// How long a publisher that has ended its side may leave its replies unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same, once the drain has begun: one publisher that never reads must not hold up the end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Serves frames until the publisher has ended its side and all is answered. `read_ahead` is what
/// was read to find out that it speaks frames.
pub(super) async fn serve(stream: UnixStream, read_ahead: &[u8], api: &Api, draining: Draining) {
    let mut conversation = Conversation {
        stream,
        api,
        decoder: Some(Decoder::new(api.max_event_size)),
        in_flight: VecDeque::new(),
        replies: Replies::default(),
        wants_replies: true,
        refused_before: false,
        left_out: 0,
        held: None,
    };
    conversation.take(read_ahead);
    conversation.go_on(draining.clone()).await;
    conversation.hand_over_replies(draining).await;
}

struct Conversation<'a> {
    stream: UnixStream,
    api: &'a Api,
    /// `None` once the publisher has ended.
    decoder: Option<Decoder>,
    in_flight: VecDeque<InFlight>,
    replies: Replies,
    wants_replies: bool,
    refused_before: bool,
    /// Lines that were left out because the publisher asked for it.
    left_out: u64,
    /// A frame that has to wait for those who read on its channels, and what was read behind it.
    held: Option<(Frame, Vec<u8>)>,
}

/// A reply that is not known yet, or that waits for one that is not.
struct InFlight {
    outcome: Outcome,
    is_wanted: bool,
}

enum Outcome {
    Waiting(Publishing),
    Known(Answer),
}

/// What a frame came to; without a receipt if it only set something.
type Answer = Result<Option<Receipt>, FrameError>;

impl Conversation<'_> {
    async fn go_on(&mut self, draining: Draining) {
        let mut stopping = false;
        loop {
            // A publisher that always has more to say shares its thread with the others.
            tokio::task::coop::consume_budget().await;
            self.replies.write(&self.stream);
            let reads =
                self.decoder.is_some() && self.in_flight.len() < MOST_IN_FLIGHT && self.held.is_none();
            if self.decoder.is_none() && self.in_flight.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                // What arrived before this moment is read to its end, and nothing arrives after it.
                () = draining.begun(), if !stopping => {
                    stopping = true;
                    stop_sending(self.stream.as_fd());
                }
                (answer, is_wanted) = first_known(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    self.answer(answer, is_wanted);
                }
                () = turn(&self.api.broker, &self.held), if self.held.is_some() => self.resume(),
                // Nothing more is read while the log has too much to write; replies and the drain go on.
                ready = readable_with_room(&self.api.broker, &self.stream), if reads => match ready {
                    Ok(()) => self.read(),
                    Err(_) => self.end(),
                },
                _ = self.stream.writable(), if self.replies.are_waiting() => {}
            }
        }
    }

    fn read(&mut self) {
        BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => self.end(),
            Ok(n) => self.take(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // A publisher that left without reading its replies resets the connection, behind its
            // data: that is an end like any other.
            Err(_) => self.end(),
        });
    }

    /// Goes on with what had to wait.
    fn resume(&mut self) {
        if let Some((frame, rest)) = self.held.take() {
            self.obey(frame);
            self.take(&rest);
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(result) = self.decoder.as_mut().and_then(|decoder| decoder.decode(&mut bytes)) {
            match result {
                Ok(frame) if frame.publishes() && self.api.broker.holds_back(&frame.channels) => {
                    self.held = Some((frame, bytes.to_vec()));
                    return;
                }
                Ok(frame) => self.obey(frame),
                Err(error) => self.settle(Outcome::Known(Err(error)), self.wants_replies),
            }
        }
        let left_out = self.decoder.as_mut().map_or(0, Decoder::take_left_out);
        self.api.metrics.left_out.add(left_out);
        self.left_out += left_out;
    }

    fn obey(&mut self, frame: Frame) {
        if let Some(reply) = frame.reply {
            self.wants_replies = reply;
        }
        let outcome = if frame.publishes() {
            poll_once(self.api.broker.publish(frame.into()))
        } else {
            Outcome::Known(Ok(None))
        };
        self.settle(outcome, self.wants_replies);
    }

    /// Answers at once if nothing that came before is unanswered.
    fn settle(&mut self, outcome: Outcome, is_wanted: bool) {
        match outcome {
            Outcome::Known(answer) if self.in_flight.is_empty() => self.answer(answer, is_wanted),
            outcome => self.in_flight.push_back(InFlight { outcome, is_wanted }),
        }
    }

    fn answer(&mut self, answer: Answer, is_wanted: bool) {
        match &answer {
            Ok(Some(receipt)) if receipt.id.is_some() && !receipt.duplicate => {
                self.api.metrics.published.add_one()
            }
            Ok(_) => {}
            Err(error) => self.note(error),
        }
        if !is_wanted {
            return;
        }
        match answer {
            Ok(Some(receipt)) => self.replies.receipt(&receipt),
            Ok(None) => self.replies.done(),
            Err(error) => self.replies.error(&error),
        }
    }

    /// The publisher may not read its replies; then the log is where its author finds the reason.
    fn note(&mut self, error: &FrameError) {
        self.api.metrics.refused.add_one();
        let publisher = self.stream.peer_cred().ok();
        let pid = publisher.and_then(|publisher| publisher.pid());
        let uid = publisher.map(|publisher| publisher.uid());
        if self.refused_before {
            tracing::debug!(pid, uid, code = %error.code, text = error.text, "refused another frame");
        } else {
            tracing::warn!(pid, uid, code = %error.code, text = error.text, "refused a frame");
        }
        self.refused_before = true;
    }

    /// The publisher sends no more.
    fn end(&mut self) {
        let Some(decoder) = self.decoder.take() else { return };
        if self.left_out > 0 {
            let pid = self.stream.peer_cred().ok().and_then(|publisher| publisher.pid());
            tracing::info!(pid, lines = self.left_out, "lines that are no fields were left out (lenient)");
        }
        if let Err(error) = decoder.finish() {
            self.api.metrics.incomplete.add_one();
            self.settle(Outcome::Known(Err(error)), self.wants_replies);
        }
    }

    /// Gives a publisher that has only ended its side the time to read.
    async fn hand_over_replies(&mut self, draining: Draining) {
        let Self { replies, stream, .. } = self;
        let hand_over = async {
            while replies.are_waiting() && stream.writable().await.is_ok() {
                replies.write(stream);
            }
        };
        let patience = async {
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = draining.begun() => tokio::time::sleep(LAST_PATIENCE).await,
            }
        };
        tokio::select! {
            () = hand_over => {}
            () = patience => {}
        }
    }
}

/// The first answer and whether it is wanted, once it is known: no reply overtakes another.
async fn first_known(in_flight: &mut VecDeque<InFlight>) -> (Answer, bool) {
    future::poll_fn(|cx| {
        let Some(InFlight { outcome, is_wanted }) = in_flight.pop_front() else { return Poll::Pending };
        let outcome = match outcome {
            Outcome::Waiting(publishing) => poll(publishing, cx),
            known => known,
        };
        match outcome {
            Outcome::Known(answer) => Poll::Ready((answer, is_wanted)),
            waiting => {
                in_flight.push_front(InFlight { outcome: waiting, is_wanted });
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for those who read on the channels of a frame.
async fn turn(broker: &Broker, held: &Option<(Frame, Vec<u8>)>) {
    if let Some((frame, _)) = held {
        broker.turn(&frame.channels).await;
    }
}

/// The log in memory has its receipts at once: they need not queue.
fn poll_once(publishing: Publishing) -> Outcome {
    poll(publishing, &mut Context::from_waker(Waker::noop()))
}

fn poll(mut publishing: Publishing, cx: &mut Context<'_>) -> Outcome {
    match Pin::new(&mut publishing).poll(cx) {
        Poll::Ready(Ok(receipt)) => Outcome::Known(Ok(Some(receipt))),
        Poll::Ready(Err(refused)) => Outcome::Known(Err(refused.into())),
        Poll::Pending => Outcome::Waiting(publishing),
    }
}

/// Waits until there is room for what the publisher sends next, and then for that.
async fn readable_with_room(broker: &Broker, stream: &UnixStream) -> io::Result<()> {
    broker.room().await;
    stream.readable().await
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::broker::{Level, Refused};

    fn waiting() -> (oneshot::Sender<Result<Receipt, Refused>>, Outcome) {
        let (answer, answered) = oneshot::channel();
        (answer, poll_once(Publishing::Waiting(answered)))
    }

    fn receipt(receivers: usize) -> Result<Receipt, Refused> {
        Ok(Receipt { id: None, receivers, level: Level::Stored, duplicate: false, disconnected: 0 })
    }

    #[tokio::test]
    async fn a_receipt_waits_for_those_before_it() {
        let (answer_first, first) = waiting();
        let (answer_second, second) = waiting();
        let outcomes = [first, second, Outcome::Known(Ok(None))];
        let mut in_flight: VecDeque<_> =
            outcomes.into_iter().map(|outcome| InFlight { outcome, is_wanted: true }).collect();

        answer_second.send(receipt(2)).unwrap();
        let too_early = future::poll_fn(|cx| {
            let known = std::pin::pin!(first_known(&mut in_flight)).poll(cx);
            Poll::Ready(known.is_ready())
        });
        assert!(!too_early.await);

        answer_first.send(receipt(1)).unwrap();
        let mut receivers = Vec::new();
        while !in_flight.is_empty() {
            let (answer, _) = first_known(&mut in_flight).await;
            receivers.push(answer.unwrap().map(|receipt| receipt.receivers));
        }
        assert_eq!(receivers, [Some(1), Some(2), None]);
    }
}
