//! A fan-out thread, from outside: what it can be asked to do, and how it is woken.

use std::sync::{Arc, mpsc};

use mio::Waker;

use super::Recheck;
use super::end::End;
use super::subscriber::{Slot, Subscriber};
use crate::broker::{ReaderId, Wake};

/// Puts a question about a client to the backend, and ends the client's stream if the answer is no.
pub(super) type AskAgain = Box<dyn Fn(&Recheck, Ticket) + Send>;

/// What a fan-out thread is asked to do.
pub(super) enum Command {
    /// Hold this client from now on.
    Adopt(Box<Subscriber>),
    /// End this client's stream, if it is still the one meant.
    End(Ticket, End),
    /// End all streams, and then the thread.
    Drain,
}

/// A client in a thread's care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    pub(super) reader: ReaderId,
    pub(super) slot: Slot,
}

/// The side of a fan-out thread that others hold. Dropping it ends the thread.
pub(super) struct Handle {
    pub(super) reader: ReaderId,
    /// `None` only while it is being dropped.
    pub(super) commands: Option<mpsc::Sender<Command>>,
    pub(super) waker: Arc<Waker>,
}

impl Handle {
    /// Asks; done soon, unless the thread has come to its end.
    pub(super) fn ask(&self, command: Command) {
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
pub(super) struct Alarm(pub(super) Arc<Waker>);

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
