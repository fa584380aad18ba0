//! A request, whose body is read from the connection as somebody asks for it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use super::wire::{Wire, lock};
use crate::body::{Body, BodyError};
use crate::http1::{Length, Lines, Refusal, RequestHead};

/// A request, as the gate let it in.
pub struct Request {
    /// Its head.
    pub head: RequestHead,
    /// How the end of its body is found.
    pub length: Length,
    /// Its body.
    pub body: Body,
    /// The way to say something ahead of the answer.
    pub interim: Interim,
}

impl Request {
    /// The request with this head, which is in hand from now on.
    pub(super) fn begin(
        head: RequestHead,
        length: Length,
        wire: &mut Wire,
        shared: &Arc<Mutex<Wire>>,
    ) -> Self {
        let number = wire.begin(&head, length);
        let interim = Interim { wire: Arc::clone(shared), number };
        let body = match wire.is_body_read() {
            true => Body::empty(),
            false => Body::stream(Incoming { wire: Arc::clone(shared), number }),
        };
        Self { head, length, body, interim }
    }

    /// The request with its headers in a map.
    ///
    /// # Errors
    /// When its target is none that the `http` crate takes.
    pub fn into_http(self) -> Result<http::Request<Body>, Refusal> {
        let Self { head, body, .. } = self;
        let mut request = http::Request::new(body);
        *request.uri_mut() = head.full_target().try_into().map_err(|_| Refusal::Target)?;
        *request.version_mut() = head.start.version;
        *request.headers_mut() = head.map();
        *request.method_mut() = head.start.method;
        Ok(request)
    }
}

/// The way to tell a client something ahead of its answer (RFC 9110 section 15.2).
pub struct Interim {
    wire: Arc<Mutex<Wire>>,
    number: u64,
}

impl Interim {
    /// Tells it, unless the client would take it for its answer: HTTP/1.0 knows nothing of the kind. Leave to
    /// send a body is given once, and only to a client that waits for it.
    pub fn tell(&self, status: StatusCode, lines: &Lines) {
        let mut wire = lock(&self.wire);
        if wire.has_in_hand(self.number) {
            wire.tell(status, lines);
        }
    }
}

/// The body of a request.
struct Incoming {
    wire: Arc<Mutex<Wire>>,
    number: u64,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut wire = lock(&self.wire);
        if wire.has_in_hand(self.number) { wire.poll_frame(cx) } else { Poll::Ready(None) }
    }

    fn is_end_stream(&self) -> bool {
        let wire = lock(&self.wire);
        !wire.has_in_hand(self.number) || wire.is_body_read()
    }

    fn size_hint(&self) -> SizeHint {
        let wire = lock(&self.wire);
        wire.body_left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
