//! One request and its answer's head.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::answer_body::AnswerBody;
use super::connect::connect;
use super::fault::Fault;
use super::link::{Link, Overdue};
use super::pool::Permit;
use super::stream::Writing;
use super::tunnel::Upstream;
use super::upload::{self, Progress, State};
use super::{Inside, Settings, headers};
use crate::body::Body;

/// A link in use, with its permit. Dropped, it closes the connection.
pub(super) struct Lease {
    pub(super) link: Box<Link>,
    pub(super) inside: Arc<Inside>,
    permit: Permit,
}

/// An answer's head, and how its body will come.
pub(super) struct Answered {
    pub(super) answer: Response<Incoming>,
    pub(super) lease: Lease,
    progress: Option<Arc<Progress>>,
    reusable: bool,
}

impl Lease {
    /// Gives the link back, if it can be used again.
    pub(super) fn end(mut self) {
        if self.link.settle() {
            self.inside.pool.put(self.link);
        }
        drop(self.permit);
    }

    /// Leaves the pool for good; the socket is all that is wanted.
    pub(super) fn into_upstream(self) -> Option<Upstream> {
        self.link.into_upstream()
    }
}

/// Sends a request and waits for the answer's head. It is sent a second time, over a new connection, if
/// the first one had rested and turned out to be dead before the backend said anything, and if nobody
/// could be harmed by that: either no byte of the request was sent, or it is one that may be repeated.
///
/// The request is boxed since it moves through futures that would each keep a copy's room for it.
pub(super) async fn exchange(
    inside: &Arc<Inside>,
    request: Box<Request<Body>>,
    upgrade: bool,
) -> Result<Answered, Fault> {
    let permit = permit(inside).await?;
    let (request, progress) = watch_upload(request);

    let repeatable = progress.is_none() && request.method().is_idempotent();
    let writing = if repeatable { Writing::Kept } else { Writing::Plain };
    let again = match inside.pool.take(!repeatable) {
        None => Again::Whole(request),
        Some(mut link) => {
            match attempt(inside, &mut link, request, writing, progress.as_deref(), upgrade).await {
                Ok(answer) => return finish(inside, answer, link, permit, progress),
                Err(Failed::Dead { unsent: Some(unsent), .. }) => Again::Whole(unsent),
                Err(Failed::Dead { fault, .. }) => Again::from_wire(link.take_request()).ok_or(fault)?,
                Err(Failed::Final(fault)) => return Err(fault),
            }
        }
    };
    // In a box of its own: most requests find a connection, and their futures shall be small.
    Box::pin(afresh(inside, again, permit, progress, upgrade)).await
}

/// Sends a request over a new connection.
async fn afresh(
    inside: &Arc<Inside>,
    again: Again,
    permit: Permit,
    progress: Option<Arc<Progress>>,
    upgrade: bool,
) -> Result<Answered, Fault> {
    let (request, writing, first_words) = match again {
        Again::Whole(request) => (request, Writing::Plain, Vec::new()),
        Again::Written { request, bytes } => (request, Writing::Done, bytes),
    };
    let settings = &inside.settings;
    let mut link = connect(&settings.address, &inside.name, settings.connect_timeout, &first_words).await?;
    match attempt(inside, &mut link, request, writing, progress.as_deref(), upgrade).await {
        Ok(answer) => finish(inside, answer, link, permit, progress),
        Err(Failed::Dead { fault, .. } | Failed::Final(fault)) => Err(fault),
    }
}

/// What a new connection is to carry.
enum Again {
    /// A request of which nothing was sent.
    Whole(Box<Request<Body>>),
    /// A request without a body that may be repeated: its bytes go out as they went the first time, and
    /// hyper gets what it must know to read the answer.
    Written { request: Box<Request<Body>>, bytes: Vec<u8> },
}

impl Again {
    /// `None` if nothing was kept, for then it may not be repeated.
    fn from_wire(bytes: Vec<u8>) -> Option<Self> {
        let method = bytes.split(|&byte| byte == b' ').next()?;
        let mut request = Box::new(Request::new(Body::empty()));
        *request.method_mut() = Method::from_bytes(method).ok()?;
        Some(Self::Written { request, bytes })
    }
}

/// Why an attempt brought no answer.
enum Failed {
    /// The connection ended before the backend said anything. The request is still whole if nothing of
    /// it was sent.
    Dead { fault: Fault, unsent: Option<Box<Request<Body>>> },
    /// Another attempt would not be better, or could do harm.
    Final(Fault),
}

async fn permit(inside: &Inside) -> Result<Permit, Fault> {
    let patience = inside.settings.connect_timeout;
    inside.pool.permit(patience).await.map_err(|_| Fault::Busy {
        backend: inside.name.clone(),
        limit: inside.settings.max_connections,
        waited: patience,
    })
}

fn watch_upload(mut request: Box<Request<Body>>) -> (Box<Request<Body>>, Option<Arc<Progress>>) {
    let body = std::mem::replace(request.body_mut(), Body::empty());
    if http_body::Body::is_end_stream(&body) {
        return (request, None);
    }
    let (body, progress) = upload::watch(body);
    *request.body_mut() = body;
    (request, Some(progress))
}

/// Sends the request over this link.
async fn attempt(
    inside: &Inside,
    link: &mut Link,
    request: Box<Request<Body>>,
    writing: Writing,
    progress: Option<&Progress>,
    upgrade: bool,
) -> Result<Response<Incoming>, Failed> {
    if upgrade {
        link.allow_upgrade();
    }
    let mut sending = std::pin::pin!(link.begin(*request, writing));
    let clock = Clock { settings: &inside.settings, progress, begun: Instant::now() };
    link.arm_until(clock.first_look());
    loop {
        match link.drive(sending.as_mut()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut error)) => {
                let unsent = error.take_message().map(Box::new);
                if progress.is_some_and(|progress| progress.state() == State::Failed) {
                    return Err(Failed::Final(Fault::ClientLeft));
                }
                let fault = Fault::before_answer(&inside.name, error.error());
                return Err(match link.has_received() {
                    true => Failed::Final(fault),
                    false => Failed::Dead { fault, unsent },
                });
            }
            Err(Overdue) => match clock.deadline() {
                deadline if deadline > Instant::now() => link.arm_until(deadline),
                _ => return Err(Failed::Final(clock.fault(&inside.name))),
            },
        }
    }
}

/// How long who may take, while an answer is awaited.
struct Clock<'a> {
    settings: &'a Settings,
    progress: Option<&'a Progress>,
    begun: Instant,
}

impl Clock<'_> {
    /// When it may first be too late. Nobody looks at the clock while the body gets on, so this may be
    /// too early; then [`Clock::deadline`] says when to look again.
    fn first_look(&self) -> Instant {
        let Settings { answer_timeout, idle_timeout, .. } = self.settings;
        match self.progress {
            None => self.begun + *answer_timeout,
            Some(_) => self.begun + *answer_timeout.min(idle_timeout),
        }
    }

    /// When it is too late, if nothing changes.
    fn deadline(&self) -> Instant {
        let Some(progress) = self.progress else { return self.begun + self.settings.answer_timeout };
        let limit = match progress.state() {
            State::WaitsForClient => self.settings.idle_timeout,
            State::WaitsForBackend | State::Failed | State::Complete => self.settings.answer_timeout,
        };
        progress.since() + limit
    }

    /// Whom the lost time is due to.
    fn fault(&self, backend: &str) -> Fault {
        match self.progress.map(Progress::state) {
            Some(State::WaitsForClient) => Fault::ClientStalled { waited: self.settings.idle_timeout },
            Some(State::WaitsForBackend | State::Failed | State::Complete) | None => {
                Fault::Silent { backend: backend.into(), waited: self.settings.answer_timeout }
            }
        }
    }
}

/// Checks the head.
fn finish(
    inside: &Arc<Inside>,
    mut answer: Response<Incoming>,
    mut link: Box<Link>,
    permit: Permit,
    progress: Option<Arc<Progress>>,
) -> Result<Answered, Fault> {
    link.disarm();
    if let Err(cause) = headers::check_framing(answer.headers_mut()) {
        return Err(Fault::Nonsense { backend: inside.name.clone(), cause });
    }
    // hyper would write the next request as HTTP/1.0, and could not send it with a chunked body.
    let reusable = answer.version() == Version::HTTP_11 && answer.status() != StatusCode::SWITCHING_PROTOCOLS;
    let lease = Lease { link, inside: inside.clone(), permit };
    Ok(Answered { answer, lease, progress, reusable })
}

impl Answered {
    /// The answer with a body that gives the link back at its end.
    pub(super) fn with_body(self) -> Response<Body> {
        let Self { answer, lease, progress, reusable } = self;
        let stream = headers::is_event_stream(answer.headers());
        let (parts, body) = answer.into_parts();
        if reusable && (!stream || http_body::Body::is_end_stream(&body)) && lease.link.is_ready() {
            // All of it is here already. This is what most requests come to.
            lease.end();
            return Response::from_parts(parts, Body::Incoming(body));
        }
        // What the backend streams has no clock; what it hands over with a body does: it is to exit.
        let clock = !stream || parts.headers.keys().any(|name| headers::is_handoff(name.as_str()));
        let body = AnswerBody::new(body, lease, progress, reusable, stream, clock);
        Response::from_parts(parts, Body::stream(body))
    }
}
