//! Clients that came while there was no log yet: their streams begin at once and stay silent.
//!
//! Asking them to come back would have each of them ask the backend again every few seconds, for as long
//! as the disk is ill. Where a client was in the log is looked up when the log is there, and what it is
//! told first is told then.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::end::End;
use super::promises::{Answering, Bond, Patience, Then, spread};
use super::{Initial, Newcomer, Streams, head, initial};
use crate::body::Body;
use crate::broker::{Refused, Subscribed, Waiting};
use crate::event::encode;
use crate::socket::Socket;

impl Streams {
    /// Holds a client that waits for the log.
    pub(super) async fn hold_back(
        self,
        waiting: Waiting,
        newcomer: Newcomer,
        opening: Bytes,
        initial: Option<Initial>,
        mut socket: Socket,
    ) {
        let stall = self.0.settings.stall;
        let body = initial.map_or_else(Body::empty, |Initial(body)| body);
        let manner = newcomer.manner(stall);
        let draining = self.0.draining.clone();
        let mut text = initial::Text::of(body, None);
        let begun = async {
            let mut unsent = initial::write(&mut socket, opening, &mut text, manner, draining).await?;
            initial::write_in_time(&mut socket, &mut unsent, stall).await
        };
        match begun.await {
            Ok(()) => self.wait(waiting, newcomer, text, socket).await,
            Err(error) => tracing::debug!(%error, "the client left before there was a log"),
        }
    }

    /// Keeps a silent stream until the log is there, the client has left, or it is time to end.
    async fn wait(&self, mut waiting: Waiting, newcomer: Newcomer, text: initial::Text, mut socket: Socket) {
        let stall = self.0.settings.stall;
        let mut heartbeats = every(newcomer.keep_alive);
        let grace = self.0.settings.recheck_grace;
        let mut rechecks = newcomer.bond.as_ref().and_then(|bond| Rechecks::new(bond, grace));
        let draining = self.0.draining.clone();
        let mut scrap = [0; 256];
        let end = loop {
            tokio::select! {
                subscribed = &mut waiting => break Err(subscribed),
                read = socket.read(&mut scrap) => match read {
                    Ok(0) => break Ok(End::ClientLeft),
                    Ok(_) => {}
                    Err(_) => break Ok(End::ConnectionLost),
                },
                _ = heartbeats.tick() => {
                    let mut comment = encode::heartbeat(newcomer.chunked);
                    if initial::write_in_time(&mut socket, &mut comment, stall).await.is_err() {
                        break Ok(End::ConnectionLost);
                    }
                }
                end = refused(&mut rechecks, newcomer.bond.as_ref()) => break Ok(end),
                () = draining.begun() => break Ok(End::Drained),
            }
        };
        match end {
            Ok(end) => newcomer.end(socket, end, stall).await,
            Err(subscribed) => self.let_in(subscribed, newcomer, text, socket).await,
        }
    }

    /// The log is there, and this is what it says to the client.
    async fn let_in(
        &self,
        subscribed: Result<Subscribed, Refused>,
        newcomer: Newcomer,
        mut text: initial::Text,
        socket: Socket,
    ) {
        let stall = self.0.settings.stall;
        match subscribed {
            Ok(Subscribed::Open(subscription, gap)) => {
                let mut told = text.find_place(subscription.anchor());
                told.extend(gap.as_ref().map(head::gap_event));
                let opening = match told.as_str() {
                    "" => Bytes::new(),
                    told => encode::chunk_if(newcomer.chunked, told.as_bytes()),
                };
                self.adopt(newcomer, socket, subscription, opening);
            }
            // It comes back once more and is told then to stop.
            Ok(Subscribed::Over) => newcomer.end(socket, End::Closed, stall).await,
            Ok(Subscribed::Disconnected) => newcomer.end(socket, End::Disconnected, stall).await,
            Err(refused) => {
                tracing::warn!(%refused, "a stream cannot go on; the client comes back");
                newcomer.end(socket, End::Drained, stall).await;
            }
        }
    }
}

impl Newcomer {
    /// Ends the stream of a client that was never in the log.
    async fn end(self, mut socket: Socket, end: End, stall: Duration) {
        if end.is_ours() {
            let mut last = Bytes::from_static(if self.chunked { encode::LAST_CHUNK } else { b"" });
            let _ = initial::write_in_time(&mut socket, &mut last, stall).await;
            let _ = socket.shutdown().await;
        }
        if let Some(bond) = self.bond {
            bond.end(end);
        }
    }
}

/// When the site is to be asked again about a client, and the question that is under way.
pub(super) struct Rechecks {
    every: Duration,
    grace: Duration,
    due: Instant,
    asked: Option<Answering>,
    patience: Patience,
}

impl Rechecks {
    pub(super) fn new(bond: &Bond, grace: Duration) -> Option<Self> {
        let every = bond.recheck()?.every;
        let due = Instant::now() + spread(every);
        Some(Self { every, grace, due, asked: None, patience: Patience::default() })
    }

    /// Asks again and again until the stream is to end. It goes on where it was when it is dropped and
    /// called again.
    async fn refused(&mut self, bond: &Bond) -> End {
        loop {
            if self.asked.is_none() {
                sleep_until(self.due).await;
            }
            let answer = self.asked.get_or_insert_with(|| bond.ask()).await;
            self.asked = None;
            match self.patience.take(answer, self.every, self.grace) {
                Then::Ask(pause) => self.due = Instant::now() + pause,
                Then::End(end) => return end,
            }
        }
    }
}

/// Why the site lets a client stay no longer; it may never come to that.
pub(super) async fn refused(rechecks: &mut Option<Rechecks>, bond: Option<&Bond>) -> End {
    match (rechecks, bond) {
        (Some(rechecks), Some(bond)) => rechecks.refused(bond).await,
        _ => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut times = interval_at(Instant::now() + period, period);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::subscribe::promises::{MayStay, Promises, Site, tests::promises};

    /// A site whose answers come from a test.
    struct Scripted(mpsc::UnboundedSender<oneshot::Sender<MayStay>>);

    impl Site for Scripted {
        fn may_stay(&self, _: Arc<Promises>) -> Answering {
            let (answer, answered) = oneshot::channel();
            self.0.send(answer).unwrap();
            Box::pin(async move { answered.await.unwrap() })
        }

        fn gone(&self, _: Arc<Promises>, _: End) {}
    }

    #[tokio::test]
    async fn the_backend_is_asked_again_while_a_client_waits_and_once_at_a_time() {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let bond = Bond::new(Arc::new(Scripted(asks)), promises(Duration::from_millis(1)));
        let mut rechecks = Rechecks::new(&bond, Duration::MAX).unwrap();

        for says in [MayStay::Yes, MayStay::NotAsked, MayStay::Yes] {
            // The wait for an answer is given up when something else is to be done, and taken up again.
            let answer = tokio::select! {
                end = rechecks.refused(&bond) => panic!("nobody has answered, and it is {end:?}"),
                answer = asked.recv() => answer.unwrap(),
            };
            answer.send(says).unwrap();
        }
        let refuse = async {
            asked.recv().await.unwrap().send(MayStay::No).unwrap();
        };
        let (end, ()) = tokio::join!(rechecks.refused(&bond), refuse);

        assert_eq!(end, End::Revoked);
        assert!(asked.try_recv().is_err(), "it was asked once");
    }
}
