//! A fan-out thread, from outside: what it can be asked to do, and how it is woken.

use std::sync::{Arc, mpsc};

use mio::Waker;
use tokio::runtime;
use tokio::sync::mpsc::UnboundedSender;

use super::Slot;
use super::subscriber::Subscriber;
use crate::broker::{ReaderId, Wake};
use crate::subscribe::promises::{Bond, MayStay};

/// How a fan-out thread has the site asked again: on tokio's threads, so that it does not wait itself.
#[derive(Clone)]
pub(in crate::subscribe) struct AskAgain {
    runtime: runtime::Handle,
    /// Where the answers go.
    heard: UnboundedSender<(Ticket, MayStay)>,
}

impl AskAgain {
    /// To be called in a tokio runtime.
    pub(in crate::subscribe) fn new(heard: UnboundedSender<(Ticket, MayStay)>) -> Self {
        Self { runtime: runtime::Handle::current(), heard }
    }

    /// Puts the question about a client to the site. There is always an answer.
    pub(in crate::subscribe) fn ask(&self, bond: &Bond, ticket: Ticket) {
        let (answering, heard) = (bond.ask(), self.heard.clone());
        let mut question = Question { heard, ticket, answer: MayStay::NotAsked };
        self.runtime.spawn(async move { question.hear(answering.await) });
    }
}

/// A question about a client; whatever becomes of the task that asks it, somebody hears of it.
struct Question {
    heard: UnboundedSender<(Ticket, MayStay)>,
    ticket: Ticket,
    answer: MayStay,
}

impl Question {
    fn hear(&mut self, answer: MayStay) {
        self.answer = answer;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // Nobody is left to hear it when all threads have ended.
        let _ = self.heard.send((self.ticket, self.answer));
    }
}

/// What a fan-out thread is asked to do.
pub(in crate::subscribe) enum Command {
    /// Hold this client from now on.
    Adopt(Box<Subscriber>),
    /// Take what the site says about this client, if it is still the one meant.
    Hear(Ticket, MayStay),
    /// End all streams, and then the thread.
    Drain,
}

/// A client in a thread's care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::subscribe) struct Ticket {
    pub(in crate::subscribe) reader: ReaderId,
    pub(in crate::subscribe) slot: Slot,
}

/// The side of a fan-out thread that others hold. Dropping it ends the thread.
pub(in crate::subscribe) struct Handle {
    pub(in crate::subscribe) reader: ReaderId,
    /// `None` only while it is being dropped.
    pub(in crate::subscribe) commands: Option<mpsc::Sender<Command>>,
    pub(in crate::subscribe) waker: Arc<Waker>,
}

impl Handle {
    /// Asks; done soon, unless the thread has come to its end.
    pub(in crate::subscribe) fn ask(&self, command: Command) {
        if self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok()) {
            wake(&self.waker);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Hung up first, so that the thread finds it when it wakes.
        self.commands = None;
        wake(&self.waker);
    }
}

/// What the broker wakes a fan-out thread with.
pub(in crate::subscribe) struct Alarm(pub(in crate::subscribe) Arc<Waker>);

impl Wake for Alarm {
    fn wake(&self) {
        wake(&self.0);
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "cannot wake a fan-out thread");
    }
}
