//! One connection to the backend, driven by the task that uses it.
//!
//! It has no task of its own: whoever waits for an answer reads it. That saves the wake-ups between two
//! tasks for each request, and it makes the end simple: dropping a link closes its socket, at once.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, Sleep, sleep};

use super::owner::Owner;
use crate::http1::Reader;
use crate::socket::{Arrived, Socket};

/// A connection, open or just closed by the backend.
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) reader: Reader,
    /// The client that it belongs to, if it belongs to one.
    pub(super) owner: Option<Owner>,
    /// Whether its client has logged in over it, or is about to.
    pub(super) is_authenticated: bool,
    /// How long the backend lets it rest, if it has said so.
    pub(super) rest: Option<Duration>,
    clock: Pin<Box<Sleep>>,
    armed: bool,
}

impl Link {
    /// Makes a connected socket a link. To be called in a tokio runtime.
    pub(super) fn over(socket: Socket) -> Box<Self> {
        let clock = Box::pin(sleep(Duration::ZERO));
        Box::new(Self {
            socket,
            reader: Reader::default(),
            owner: None,
            is_authenticated: false,
            rest: None,
            clock,
            armed: false,
        })
    }

    /// Makes it the link of this client, who logs in over it.
    pub(super) fn tie(&mut self, owner: Owner) {
        (self.owner, self.is_authenticated) = (Some(owner), true);
    }

    /// Starts the clock.
    pub(super) fn arm_until(&mut self, deadline: Instant) {
        // Moving a timer to a later time takes no lock, so the timer stays where it is from one
        // request to the next, and may wake somebody in vain.
        self.clock.as_mut().reset(deadline);
        self.armed = true;
    }

    /// Stops the clock.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Whether the clock runs.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Ready once the time is over that the clock was started with.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed { self.clock.as_mut().poll(cx) } else { Poll::Pending }
    }

    /// What has come over a link that nobody uses, and that can be used if it is nothing. With `thorough` the
    /// kernel is asked, which costs a system call and leaves only the time that the news is under way.
    pub(super) fn arrived(&mut self, thorough: bool) -> Arrived {
        let mut nobody = Context::from_waker(Waker::noop());
        self.armed = false;
        if !self.reader.is_empty() {
            return Arrived::Bytes;
        }
        match self.reader.poll_fill(&mut nobody, &mut self.socket) {
            Poll::Pending if thorough => self.socket.arrived(),
            Poll::Pending => Arrived::Nothing,
            Poll::Ready(Ok(1..)) => Arrived::Bytes,
            Poll::Ready(Ok(0) | Err(_)) => Arrived::End,
        }
    }

    /// Whether what has come is the word with which some servers close a connection that rests (RFC 9110
    /// section 15.5.9).
    pub(super) fn says_goodbye(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let _ = self.reader.poll_fill(&mut nobody, &mut self.socket);
        matches!(self.reader.answer(), Ok(Some(head)) if head.start.status == StatusCode::REQUEST_TIMEOUT)
    }
}
