//! One request: route it, then proxy, subscribe or refuse.
//!
//! The only place that knows both halves of the product. A path that is an event route is answered
//! with a subscription; anything else goes to the backend, and if its answer hands the client over,
//! that becomes a subscription too.

mod ask;
mod backoff;
mod coding;
mod come_back;
mod cookies;
mod desk;
mod early;
mod event_route;
mod hold;
mod origins;
mod refuse;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::body::Body;
use crate::drain::Draining;
use crate::handoff;
use crate::http1::{Length, Lines};
use crate::listen::connection::{self, TakesOver};
use crate::listen::{Interim, Request};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::proxy::{self, Asked, Backend, Fault, Forwarded, headers, tunnel};
use crate::route::Routes;
use crate::socket::Socket;
use crate::subscribe::{Stay, Streams};
use crate::vigil;
use come_back::retry_after;
use origins::Reader;

pub use backoff::Backoff;
pub use desk::Desk;

/// Answers requests.
pub struct Gateway {
    /// The paths that outboard answers itself.
    pub routes: Routes,
    /// The site behind.
    pub backend: Arc<Backend>,
    /// The clients that are held.
    pub streams: Streams,
    /// The paths that fail.
    pub failing: Arc<Backoff>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether there is to be no new stream any more.
    pub draining: Draining,
}

/// What a request comes to here.
pub type Handled = connection::Handled<Taker>;

/// Who takes a client's socket in place of an answer.
pub enum Taker {
    /// An event stream.
    Stay(Stay),
    /// A connection with the backend.
    Tunnel(Tunnel),
}

impl From<Stay> for Taker {
    fn from(stay: Stay) -> Self {
        Self::Stay(stay)
    }
}

impl TakesOver for Taker {
    fn take_over(self, socket: Socket, read_ahead: Bytes) {
        match self {
            Self::Stay(stay) => stay.take_over(socket, read_ahead),
            Self::Tunnel(tunnel) => tunnel.take_over(socket, read_ahead),
        }
    }
}

/// A switch of protocols that the backend has agreed to, and the client is still to hear of.
pub struct Tunnel {
    head: Vec<u8>,
    upstream: tunnel::Upstream,
    asked: Asked,
    draining: Draining,
}

impl TakesOver for Tunnel {
    fn take_over(self, socket: Socket, read_ahead: Bytes) {
        let Self { head, upstream, asked, draining } = self;
        let watch = vigil::watch(&socket);
        let vanished = async move {
            match watch {
                Some(watch) => watch.gone().await,
                None => std::future::pending().await,
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = vanished => {
                    tracing::debug!(path = asked.path(), request_id = %asked.id, "a tunnel's client has vanished");
                }
                end = tunnel::run(socket, read_ahead, head, upstream) => {
                    tracing::debug!(?end, path = asked.path(), request_id = %asked.id, "a tunnel ended");
                }
                () = draining.begun() => {}
            }
        });
    }
}

/// Whether it is a browser that wants a page.
fn wants_a_page(asked: &Asked) -> bool {
    headers::accepts(&asked.head, "text/html") && !headers::accepts(&asked.head, headers::EVENT_STREAM)
}

impl Gateway {
    /// Answers one request. Dropping the future, as happens when the client leaves, ends whatever the
    /// backend is doing for it.
    pub async fn answer(self: Arc<Self>, request: Request, peer: Peer) -> Handled {
        let Request { head, length, body, interim } = request;
        let id = self.backend.name_request(&head, &peer);
        let asked = Asked::new(head, length, peer, id);
        if let Err(refusal) = self.backend.check(&asked.head) {
            return Handled::Response(refuse::host(refusal, &asked));
        }
        if matches!(*asked.method(), Method::CONNECT | Method::TRACE) {
            return Handled::Response(refuse::method(&asked));
        }
        if asked.head.max_forwards() == Some(0) {
            return Handled::Response(refuse::nobody_behind());
        }
        let opens = matches!(*asked.method(), Method::GET | Method::HEAD);
        let found = self.routes.find(asked.path());
        let reader = Reader::of(found.as_ref(), &asked);
        if let Some(preflight) = reader.as_ref().and_then(|reader| reader.preflight(&asked)) {
            return Handled::Response(preflight);
        }
        match found.filter(|found| opens && found.route.auth.is_some()) {
            // A page may live at the same place as its events.
            Some(_) if wants_a_page(&asked) => by_accept(self.pass(length, body, interim, asked).await),
            Some(_) if origins::is_refused(reader.as_ref(), &asked) => {
                by_accept(origins::told(reader.as_ref(), Handled::Response(refuse::cross_site(&asked))))
            }
            Some(found) => {
                let handled = Box::pin(self.event_route(found, &asked)).await;
                by_accept(origins::told(reader.as_ref(), handled))
            }
            None => {
                let reader = reader.filter(|_| opens);
                origins::told(reader.as_ref(), self.pass(length, body, interim, asked).await)
            }
        }
    }

    /// Sends a request on, and the answer back, unless that hands the client over.
    async fn pass(self: &Arc<Self>, length: Length, body: Body, interim: Interim, asked: Asked) -> Handled {
        self.metrics.proxied.add_one();
        if let Some(refusal) = self.refused_again(&asked) {
            return Handled::Response(refusal);
        }
        if let Some(open_after) = self.opens_after(&asked) {
            return Box::pin(self.pass_or_open(asked, open_after)).await;
        }
        // Before the backend is asked: it may hand over somebody whose subject is disconnected meanwhile.
        let asked_at = self.streams.latest_disconnect();
        let tell = |status, lines: &Lines| interim.tell(status, lines);
        let answered = self.backend.forward(&asked, length, body, None, tell).await;
        self.answered(answered, asked, asked_at)
    }

    /// What comes of a request that was sent on.
    fn answered(&self, answered: Result<Forwarded, Fault>, asked: Asked, asked_at: u64) -> Handled {
        match answered {
            Ok(Forwarded::Answer(answer)) => self.pass_back(answer, asked, asked_at),
            Ok(Forwarded::Upgrade(head, upstream)) => self.tunnel(head, upstream, asked),
            Err(fault) => Handled::Response(self.fault(&fault, &asked)),
        }
    }

    /// Connects a client with the backend for whatever both have agreed on, until one of them ends it or
    /// the drain begins.
    fn tunnel(&self, head: Vec<u8>, upstream: tunnel::Upstream, asked: Asked) -> Handled {
        let tunnel = Tunnel { head, upstream, asked, draining: self.draining.clone() };
        Handled::Taken(Box::new(Taker::Tunnel(tunnel)))
    }

    fn pass_back(&self, answer: proxy::Answer, asked: Asked, asked_at: u64) -> Handled {
        let is_failure = is_passing(answer.status()) && self.comes_back(&asked);
        let is_told = Reader::of(self.routes.find(asked.path()).as_ref(), &asked).is_some();
        if answer.is_plain() && !is_failure && !is_told {
            self.note_success(answer.status(), &asked);
            return Handled::Reply(answer.into_reply());
        }
        let mut answer = answer.into_response();
        match handoff::take(answer.headers_mut()) {
            Ok(Some(handoff)) if answer.status().is_success() => {
                self.hand_over(answer, handoff, &asked, asked_at)
            }
            Ok(_) if is_failure => {
                tracing::warn!(
                    backend = self.backend.name(), status = answer.status().as_u16(), path = asked.path(),
                    request_id = %asked.id,
                    "the backend failed an event-stream request; the client is asked to come back"
                );
                Handled::Response(self.ask_to_come_back(&asked, retry_after(answer.headers())))
            }
            Ok(_) => {
                self.note_success(answer.status(), &asked);
                match headers::own_stream(answer.headers_mut()) {
                    Some(charset) => Handled::Response(self.pass_stream(answer, charset, &asked)),
                    None => Handled::Response(answer),
                }
            }
            Err(invalid) => Handled::Response(self.bad_handoff(&invalid.to_string(), &asked)),
        }
    }

    /// Passes on a stream that the backend writes.
    fn pass_stream(
        &self,
        answer: Response<Body>,
        charset: headers::Charset,
        asked: &Asked,
    ) -> Response<Body> {
        let (mut parts, body) = answer.into_parts();
        if *asked.method() == Method::HEAD {
            // It is told what GET is (RFC 9110 section 9.3.2).
            let manner = stream::Manner { keep_alive: None, pad: 0, begun: false };
            let _ = stream::passed(&mut parts.headers, charset, Body::empty(), manner);
            return Response::from_parts(parts, body);
        }
        let keep_alive = self.comments_after(asked);
        let manner = stream::Manner { keep_alive, pad: self.pad(asked), begun: false };
        let body = stream::passed(&mut parts.headers, charset, body, manner);
        Response::from_parts(parts, body)
    }

    /// The silence after which a comment goes into a stream that the backend writes, if one does: clients that are no
    /// `EventSource` are given some only on routes that say so.
    fn comments_after(&self, asked: &Asked) -> Option<Duration> {
        let found = self.routes.find(asked.path());
        let own = found.and_then(|found| found.route.keep_alive);
        own.or_else(|| asked.is_event_source.then(|| self.streams.keep_alive()))
    }

    /// How many bytes of a comment come first in streams of this path.
    fn pad(&self, asked: &Asked) -> usize {
        self.routes.find(asked.path()).map_or(0, |found| found.route.pad)
    }

    /// A path that answers an `EventSource` has no fault any more.
    fn note_success(&self, status: StatusCode, asked: &Asked) {
        if asked.is_event_source && !is_passing(status) {
            self.failing.succeeds(asked.path());
        }
    }

    /// Tells a client that the backend did not answer, and the operator why.
    fn fault(&self, fault: &Fault, asked: &Asked) -> Response<Body> {
        if fault.is_client() {
            tracing::debug!(%fault, path = asked.path(), request_id = %asked.id, "the client gave up");
            return refuse::fault(fault, asked);
        }
        self.note_fault(fault, asked);
        self.come_back_or(asked, || refuse::fault(fault, asked))
    }

    /// Tells the operator why the backend did not answer.
    fn note_fault(&self, fault: &Fault, asked: &Asked) {
        self.metrics.backend_faults.add_one();
        tracing::error!(
            backend = self.backend.name(), cause = %fault, client = %asked.peer.address,
            method = %asked.method(), path = asked.path(), request_id = %asked.id, "{}", fault.title()
        );
    }

    /// Tells the operator what is wrong with an answer's `Outboard-*` headers. For a client that wants
    /// events this passes once the script is mended.
    fn bad_handoff(&self, reason: &str, asked: &Asked) -> Response<Body> {
        self.note_bad_handoff(reason, asked);
        self.come_back_or(asked, || refuse::bad_answer(asked))
    }

    fn note_bad_handoff(&self, reason: &str, asked: &Asked) {
        self.metrics.backend_faults.add_one();
        tracing::error!(
            backend = self.backend.name(), %reason, path = asked.path(), request_id = %asked.id,
            "the backend's answer cannot be used for a handoff"
        );
    }
}

/// Says that an answer depends on what the client accepts: a cache must not give a page to an `EventSource`.
fn by_accept(handled: Handled) -> Handled {
    match handled {
        Handled::Reply(mut reply) => {
            reply.add("Vary", b"Accept");
            Handled::Reply(reply)
        }
        Handled::Response(mut response) => {
            let said = response.headers().get_all(header::VARY);
            if !said.iter().any(|said| said.as_bytes().eq_ignore_ascii_case(b"accept")) {
                response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
            }
            Handled::Response(response)
        }
        // It says so itself.
        taken @ Handled::Taken(_) => taken,
    }
}

/// Whether an answer tells of trouble that may be over soon.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}
