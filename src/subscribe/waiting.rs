//! Clients that came while there was no log yet: their streams begin at once and stay silent.
//!
//! Asking them to come back would have each of them ask the backend again every few seconds, for as long
//! as the disk is ill. Where a client was in the log is looked up when the log is there, and what it is
//! told first is told then.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::end::End;
use super::{Initial, MayStay, Newcomer, Recheck, Streams, head, initial};
use crate::body::Body;
use crate::broker::{Refused, Subscribed, Waiting};
use crate::event::encode;
use crate::socket::Socket;

impl Streams {
    /// Begins the stream of a client that waits for the log.
    pub(super) fn hold_back(
        self,
        mut socket: Socket,
        waiting: Waiting,
        newcomer: Newcomer,
        opening: Bytes,
        initial: Option<Initial>,
    ) {
        tokio::spawn(async move {
            let stall = self.0.settings.stall;
            let body = initial.map_or_else(Body::empty, |Initial(body)| body);
            let manner = newcomer.manner(stall);
            let draining = self.0.draining.clone();
            let begun = async {
                let mut unsent = initial::write(&mut socket, opening, body, manner, draining).await?;
                initial::write_in_time(&mut socket, &mut unsent, stall).await
            };
            match begun.await {
                Ok(()) => self.wait(waiting, newcomer, socket).await,
                Err(error) => tracing::debug!(%error, "the client left before there was a log"),
            }
        });
    }

    /// Keeps a silent stream until the log is there, the client has left, or it is time to end.
    async fn wait(&self, mut waiting: Waiting, newcomer: Newcomer, mut socket: Socket) {
        let stall = self.0.settings.stall;
        let mut heartbeats = every(newcomer.keep_alive);
        let mut rechecks = newcomer.recheck.as_ref().map(Rechecks::new);
        let draining = self.0.draining.clone();
        let mut scrap = [0; 256];
        let end = loop {
            tokio::select! {
                subscribed = &mut waiting => return self.let_in(subscribed, newcomer, socket).await,
                read = socket.read(&mut scrap) => match read {
                    Ok(0) => break End::ClientLeft,
                    Ok(_) => {}
                    Err(_) => break End::ConnectionLost,
                },
                _ = heartbeats.tick() => {
                    let mut comment = encode::heartbeat(newcomer.chunked);
                    if initial::write_in_time(&mut socket, &mut comment, stall).await.is_err() {
                        break End::ConnectionLost;
                    }
                }
                may_stay = may_stay(&mut rechecks, newcomer.recheck.as_ref()) => {
                    if !may_stay {
                        break End::Revoked;
                    }
                }
                () = draining.begun() => break End::Drained,
            }
        };
        newcomer.end(socket, end, stall).await;
    }

    /// The log is there, and this is what it says to the client.
    async fn let_in(&self, subscribed: Result<Subscribed, Refused>, newcomer: Newcomer, socket: Socket) {
        let stall = self.0.settings.stall;
        match subscribed {
            Ok(Subscribed::Open(subscription, gap)) => {
                let gap = gap.map(|gap| encode::chunk_if(newcomer.chunked, head::gap_event(&gap).as_bytes()));
                let opening = gap.unwrap_or_default();
                self.adopt(newcomer, socket, subscription, opening);
            }
            // It comes back once more and is told then to stop.
            Ok(Subscribed::Over) => newcomer.end(socket, End::Closed, stall).await,
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
        if let Some(on_end) = self.on_end {
            on_end.tell(end);
        }
    }
}

/// When the backend is to be asked again, and the question that is under way.
struct Rechecks {
    times: Interval,
    asked: Option<MayStay>,
}

impl Rechecks {
    fn new(recheck: &Recheck) -> Self {
        Self { times: every(recheck.every), asked: None }
    }
}

/// The answer to the next question whether the client may still wait.
async fn may_stay(rechecks: &mut Option<Rechecks>, recheck: Option<&Recheck>) -> bool {
    let (Some(rechecks), Some(recheck)) = (rechecks, recheck) else { return std::future::pending().await };
    if rechecks.asked.is_none() {
        rechecks.times.tick().await;
        rechecks.asked = Some((recheck.ask)());
    }
    let Some(asked) = &mut rechecks.asked else { return true };
    let may_stay = Pin::new(asked).await;
    rechecks.asked = None;
    may_stay
}

fn every(period: Duration) -> Interval {
    let mut times = interval_at(Instant::now() + period, period);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn the_backend_is_asked_again_while_a_client_waits_and_once_at_a_time() {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let ask = Box::new(move || -> MayStay {
            let (answer, answered) = oneshot::channel();
            asks.send(answer).unwrap();
            Box::pin(async move { answered.await.unwrap() })
        });
        let recheck = Recheck { every: Duration::from_millis(1), ask };
        let mut rechecks = Some(Rechecks::new(&recheck));

        for says in [true, false] {
            // The wait for an answer is given up when something else is to be done, and taken up again.
            let answer = tokio::select! {
                _ = may_stay(&mut rechecks, Some(&recheck)) => panic!("nobody has answered"),
                answer = asked.recv() => answer.unwrap(),
            };
            answer.send(says).unwrap();

            assert_eq!(may_stay(&mut rechecks, Some(&recheck)).await, says);
            assert!(asked.try_recv().is_err(), "it was asked once");
        }
    }
}
