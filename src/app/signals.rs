//! The signals that an operator sends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::journal;

/// What a signal asks for that cannot be done here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// TERM, INT or QUIT.
    End,
    /// HUP.
    Reload,
}

/// TERM, INT, QUIT, HUP, USR1 and USR2.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    first_user: Signal,
    second_user: Signal,
}

impl Signals {
    /// Takes the signals over from the system's defaults, most of which would end the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            first_user: signal(SignalKind::user_defined1())?,
            second_user: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one that asks for something. The log files are opened anew meanwhile if that is asked for.
    pub(super) async fn next(&mut self) -> Order {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Order::End,
                _ = self.interrupt.recv() => return Order::End,
                _ = self.quit.recv() => return Order::End,
                _ = self.hang_up.recv() => return Order::Reload,
                _ = self.first_user.recv() => journal::reopen(),
                _ = self.second_user.recv() => {
                    tracing::warn!(
                        "USR2 asks for an upgrade in place, which this version cannot do yet; it goes on as before"
                    );
                }
            }
        }
    }

    /// Returns when it is time to end, whatever else is asked until then.
    pub(super) async fn end(&mut self) {
        while self.next().await != Order::End {}
    }
}
