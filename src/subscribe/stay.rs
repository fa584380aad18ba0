//! A client that is held from now on, whatever way its bytes take.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, Version};

use super::carried::Carried;
use super::newcomer::Newcomer;
use super::{Initial, Place, Streams, head, initial};
use crate::body::Body;
use crate::broker::{Refused, Subscription};
use crate::drain::Draining;
use crate::listen::connection::TakesOver;
use crate::socket::Socket;

/// How a wish to listen is answered.
pub enum Opened<T> {
    /// With a stream, a silent one as long as there is no log.
    Stay(T),
    /// With nothing: all its channels are closed and the client has seen all of them. See [`no_content`](super::no_content).
    Over,
    /// With a no: its subject has been disconnected since the site was asked whether it may listen.
    Disconnected,
    /// Not now, but perhaps soon.
    Full(Full),
}

/// Why a stream cannot be opened just now.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    /// There are as many as may be.
    #[error("there are {0} streams, as many as `max_subscribers` in [stream] allows")]
    Seats(usize),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] Refused),
}

/// A client that is held from now on: where it is in the log, what it is told first, and what was promised
/// about it. It counts as a subscriber; dropped, it has left.
pub struct Stay {
    pub(super) streams: Streams,
    pub(super) place: Place,
    pub(super) newcomer: Newcomer,
    pub(super) version: Version,
    /// More headers for the response, from a backend.
    pub(super) headers: HeaderMap,
    pub(super) retry: Duration,
    pub(super) pad: usize,
    pub(super) initial: Option<Initial>,
}

impl TakesOver for Stay {
    /// The socket leaves the tokio runtime for a fan-out thread.
    fn take_over(self, socket: Socket, _read_ahead: Bytes) {
        let Self { streams, place, newcomer, version, headers, retry, pad, initial } = self;
        let gap = if let Place::InLog(_, gap) = &place { gap.as_ref() } else { None };
        let opening = head::opening(version, &headers, retry, pad, gap);
        match (place, initial) {
            (Place::Ahead(waiting), initial) => {
                tokio::spawn(streams.hold_back(waiting, newcomer, opening, initial, socket));
            }
            (Place::InLog(subscription, _), None) => streams.adopt(newcomer, socket, subscription, opening),
            (Place::InLog(subscription, _), Some(initial)) => {
                // None is left once the drain is under way; then there is nothing to wait for either.
                let beginning = Arc::clone(&streams.0.beginning).try_acquire_owned();
                tokio::spawn(async move {
                    streams.begin(newcomer, socket, subscription, opening, initial).await;
                    drop(beginning);
                });
            }
        }
    }
}

impl Stay {
    /// The stream as a response: for whoever shares a connection with others.
    pub(super) fn into_response(self, draining: Draining) -> Response<Body> {
        let Self { streams, place, newcomer, headers, retry, pad, initial, .. } = self;
        let first = head::first_bytes(retry, pad);
        let mut response = head::streaming(Body::from_source(Carried::new(
            streams, place, newcomer, first, initial, draining,
        )));
        let ours = std::mem::replace(response.headers_mut(), headers);
        head::take_place_of(response.headers_mut());
        response.headers_mut().extend(ours);
        response
    }
}

impl Streams {
    /// Writes what a backend sends along with a handoff, and then holds the client.
    async fn begin(
        self,
        newcomer: Newcomer,
        mut socket: Socket,
        subscription: Subscription,
        opening: Bytes,
        Initial(body): Initial,
    ) {
        let manner = newcomer.manner(self.0.settings.stall);
        let draining = self.0.draining.clone();
        let mut text = initial::Text::of(body, Some(subscription.anchor()));
        match initial::write(&mut socket, opening, &mut text, manner, draining).await {
            Ok(unsent) => self.adopt(newcomer, socket, subscription, unsent),
            Err(error) => tracing::debug!(%error, "the client left during its initial events"),
        }
    }
}
