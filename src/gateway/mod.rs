//! One request: route it, then proxy, subscribe or refuse.
//!
//! The only place that knows both halves of the product. A path that is an event route is answered
//! with a subscription; anything else goes to the backend, and if its answer hands the client over,
//! that becomes a subscription too.

mod ask;
mod event_route;
mod hold;
mod refuse;

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::drain::Draining;
use crate::handoff;
use crate::listen::connection::{Answer, Takeover};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::proxy::{Backend, Fault, Forwarded, RequestId, headers, tunnel};
use crate::route::Routes;
use crate::subscribe::Streams;

/// The most tunnels at a time.
pub const MOST_TUNNELS: usize = 4096;

/// Answers requests.
pub struct Gateway {
    /// The paths that outboard answers itself.
    pub routes: Routes,
    /// The site behind.
    pub backend: Arc<Backend>,
    /// The clients that are held.
    pub streams: Streams,
    /// Room for tunnels, each of which holds two sockets for as long as it likes.
    pub tunnels: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether there is to be no new stream any more.
    pub draining: Draining,
}

/// What has to be known of a request when it has been sent on, and who asks.
#[derive(Clone)]
struct Asked {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    peer: Peer,
    id: RequestId,
}

impl Asked {
    fn of(request: &Request<Body>, peer: Peer) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            peer,
            id: RequestId::generate(),
        }
    }

    /// Whether it is an `EventSource`, or says that it is like one.
    fn wants_events(&self) -> bool {
        headers::asks_for_events(&self.headers)
    }

    /// Whether it is a browser that wants a page.
    fn wants_a_page(&self) -> bool {
        let accept = self.headers.get_all(http::header::ACCEPT);
        let page = accept.iter().any(|value| value.as_bytes().windows(9).any(|word| word == b"text/html"));
        page && !self.wants_events()
    }
}

impl Gateway {
    /// Answers one request. Dropping the future, as happens when the client leaves, ends whatever the
    /// backend is doing for it.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Answer {
        if let Err(refusal) = headers::check_request(&request) {
            return Answer::Response(refuse::malformed(&refusal, request.headers()));
        }
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Answer::Response(refuse::method(request.headers()));
        }
        // Boxed, as is what is remembered of it: they move through futures that would keep room for copies.
        let mut request = Box::new(request.map(Body::Incoming));
        headers::own_target(&mut request);
        let asked = Box::new(Asked::of(&request, peer));

        match self.routes.find(asked.uri.path()) {
            // A page may live at the same place as its events.
            Some(found) if !asked.wants_a_page() => Box::pin(self.event_route(found, &asked)).await,
            _ => self.pass(request, asked).await,
        }
    }

    /// Sends a request on, and the answer back, unless that hands the client over.
    async fn pass(&self, request: Box<Request<Body>>, asked: Box<Asked>) -> Answer {
        self.metrics.proxied.add_one();
        match self.backend.forward(request, &asked.peer, asked.id).await {
            Ok(Forwarded::Answer(answer)) => self.pass_back(answer, asked),
            Ok(Forwarded::Upgrade(head, upstream)) => self.tunnel(head, upstream, asked),
            Err(fault) => Answer::Response(self.fault(&fault, &asked)),
        }
    }

    /// Connects a client with the backend for whatever both have agreed on, until one of them ends it or
    /// the drain begins.
    fn tunnel(&self, head: Response<()>, upstream: tunnel::Upstream, asked: Box<Asked>) -> Answer {
        let Ok(room) = Arc::clone(&self.tunnels).try_acquire_owned() else {
            tracing::warn!(path = asked.uri.path(), request_id = %asked.id, "no room for another tunnel");
            return Answer::Response(refuse::busy(&asked));
        };
        let mut draining = self.draining.clone();
        Answer::Takeover(Takeover(Box::new(move |socket, read_ahead| {
            tokio::spawn(async move {
                let _room = room;
                tokio::select! {
                    end = tunnel::run(socket, read_ahead, head, upstream) => {
                        tracing::debug!(?end, path = asked.uri.path(), request_id = %asked.id, "a tunnel ended");
                    }
                    () = draining.begun() => {}
                }
            });
        })))
    }

    fn pass_back(&self, mut answer: Response<Body>, asked: Box<Asked>) -> Answer {
        match handoff::take(answer.headers_mut()) {
            Ok(Some(handoff)) if answer.status().is_success() => self.hand_over(answer, handoff, *asked),
            Ok(_) if asked.wants_events() && is_passing(answer.status()) => {
                tracing::warn!(
                    backend = self.backend.name(), status = answer.status().as_u16(), path = asked.uri.path(),
                    request_id = %asked.id,
                    "the backend failed an event-stream request; the client is asked to come back"
                );
                Answer::Response(self.streams.come_back())
            }
            Ok(_) => {
                if headers::is_event_stream(answer.headers()) {
                    headers::own_stream(answer.headers_mut());
                }
                Answer::Response(answer)
            }
            Err(invalid) => Answer::Response(self.bad_handoff(&invalid.to_string(), &asked)),
        }
    }

    /// Tells a client that the backend did not answer, and the operator why.
    fn fault(&self, fault: &Fault, asked: &Asked) -> Response<Body> {
        if fault.is_client() {
            tracing::debug!(%fault, path = asked.uri.path(), request_id = %asked.id, "the client gave up");
            return refuse::fault(fault, asked);
        }
        self.metrics.backend_faults.add_one();
        tracing::error!(
            backend = self.backend.name(), cause = %fault, method = %asked.method, path = asked.uri.path(),
            request_id = %asked.id, "the backend did not answer"
        );
        if asked.wants_events() { self.streams.come_back() } else { refuse::fault(fault, asked) }
    }

    /// Tells the operator what is wrong with an answer's `Outboard-*` headers. For a client that wants
    /// events this passes once the script is mended.
    fn bad_handoff(&self, reason: &str, asked: &Asked) -> Response<Body> {
        self.metrics.backend_faults.add_one();
        tracing::error!(
            backend = self.backend.name(), %reason, path = asked.uri.path(), request_id = %asked.id,
            "the backend's answer cannot be used for a handoff"
        );
        if asked.wants_events() { self.streams.come_back() } else { refuse::bad_answer(asked) }
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
