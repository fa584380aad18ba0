//! Streams that begin before the backend has answered (PROTOCOL 4.3).
//!
//! A script that is slow to begin is neither cut off nor run again: its client gets the head of a stream and comments.
//! What the backend answers then goes into that stream, or becomes an event that says that it does not.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;

use super::origins::{self, Reader};
use super::{Asked, Gateway, Handled, is_passing, refuse, retry_after, stream};
use crate::body::{Body, BodyError, Source};
use crate::event::encode;
use crate::handoff;
use crate::proxy::{Fault, Forwarded, headers};
use crate::subscribe::{Opened, head, last_event_id, no_content};

/// What the id of a refusal begins with; a status follows.
const REFUSED: &str = "outboard-refused-";

/// A backend that is being asked.
type Asking = Pin<Box<dyn Future<Output = Result<Forwarded, Fault>> + Send>>;

impl Gateway {
    /// How long the backend may take for this request until its client gets the head of a stream; `None` if it gets
    /// none before the backend's.
    pub(super) fn opens_after(&self, asked: &Asked) -> Option<Duration> {
        if !asked.is_event_source || refused_before(asked).is_some() {
            return None;
        }
        let found = self.routes.find(asked.path());
        let is_listed = Reader::of(found.as_ref(), asked).is_some_and(|reader| reader.is_listed());
        // Whether a page of another origin may read it is for the site to say.
        if origins::is_cross_origin(asked) && !is_listed {
            return None;
        }
        let open_after = found.and_then(|found| found.route.open_after);
        let open_after = open_after.unwrap_or_else(|| self.streams.open_after());
        (open_after < self.backend.answer_timeout()).then_some(open_after)
    }

    /// The answer to a client that was refused when it was too late for a status, and has come back.
    pub(super) fn refused_again(&self, asked: &Asked) -> Option<Response<Body>> {
        match refused_before(asked)? {
            StatusCode::NO_CONTENT => Some(no_content()),
            status if status.is_client_error() => Some(refuse::again(status, asked)),
            // It is asked again, and has its redirect this time.
            _ => None,
        }
    }

    /// Sends an `EventSource`'s request on, and gives the client the head of a stream if the backend takes longer than
    /// `open_after`.
    pub(super) async fn pass_or_open(self: &Arc<Self>, asked: Asked, open_after: Duration) -> Handled {
        let asked_at = self.streams.latest_disconnect();
        let mut asking: Asking = {
            let (gateway, asked) = (Arc::clone(self), asked.clone());
            Box::pin(async move {
                let patience = Some(gateway.backend.stream_answer_timeout());
                let (length, body) = (crate::http1::Length::NONE, Body::empty());
                gateway.backend.forward(&asked, length, body, patience, |_, _| {}).await
            })
        };
        if let Ok(answered) = tokio::time::timeout(open_after, &mut asking).await {
            return self.answered(answered, asked, asked_at);
        }
        let retry = head::jittered(self.first_hint(&asked));
        let keep_alive = self.comments_after(&asked).unwrap_or_else(|| self.streams.keep_alive());
        let first = Some(Bytes::from(head::first_bytes(retry, self.pad(&asked))));
        let stage = Stage::Asking(asking);
        let early = Early { gateway: Arc::clone(self), asked, asked_at, keep_alive, first, stage };
        Handled::Response(head::streaming(Body::from_source(early)))
    }
}

/// A stream whose backend is still being asked, or has answered.
struct Early {
    gateway: Arc<Gateway>,
    asked: Asked,
    asked_at: u64,
    keep_alive: Duration,
    first: Option<Bytes>,
    stage: Stage,
}

enum Stage {
    Asking(Asking),
    /// What comes now is all there is.
    Answered(Body),
}

impl Source for Early {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(Frame::data(first)));
        }
        if let Stage::Asking(asking) = &mut self.stage {
            let answered = tokio::select! {
                answered = asking => answered,
                () = tokio::time::sleep(self.keep_alive) => {
                    return Some(Ok(Frame::data(encode::heartbeat(false))));
                }
            };
            self.stage = Stage::Answered(self.answered(answered));
        }
        match &mut self.stage {
            Stage::Answered(body) => body.frame().await,
            Stage::Asking(_) => None,
        }
    }
}

impl Early {
    /// What goes into the stream now that the backend has answered.
    fn answered(&self, answered: Result<Forwarded, Fault>) -> Body {
        let Self { gateway, asked, .. } = self;
        let answer = match answered {
            Ok(Forwarded::Answer(answer)) => answer,
            Ok(Forwarded::Upgrade(..)) => return self.refused(StatusCode::BAD_GATEWAY, None),
            Err(fault) => {
                gateway.note_fault(&fault, asked);
                return self.refused(fault.status(), None);
            }
        };
        let mut answer = answer.into_response();
        let status = answer.status();
        match handoff::take(answer.headers_mut()) {
            Ok(Some(handoff)) if status.is_success() => return self.held(answer, handoff),
            Ok(_) => {}
            Err(invalid) => {
                gateway.note_bad_handoff(&invalid.to_string(), asked);
                return self.refused(StatusCode::BAD_GATEWAY, None);
            }
        }
        let charset = headers::own_stream(answer.headers_mut());
        let (mut parts, body) = answer.into_parts();
        match charset.filter(|_| status.is_success()) {
            Some(charset) => {
                gateway.note_success(status, asked);
                let keep_alive = gateway.comments_after(asked);
                let manner = stream::Manner { keep_alive, pad: 0, begun: true };
                stream::passed(&mut parts.headers, charset, body, manner)
            }
            None => self.refused(status, Some(&parts.headers)),
        }
    }

    /// Holds the client, on the connection on which its stream has begun.
    fn held(&self, answer: Response<Body>, handoff: handoff::Handoff) -> Body {
        let Self { gateway, asked, asked_at, .. } = self;
        if answer.headers().contains_key(header::SET_COOKIE) {
            tracing::warn!(
                path = asked.path(), request_id = %asked.id,
                "a handoff that came after `open_after` sets cookies, and the head of the stream has gone without them"
            );
        }
        let (ask, handoff, question) = match gateway.wish(answer, handoff, asked, *asked_at) {
            Ok(wish) => wish,
            Err(reason) => {
                gateway.note_bad_handoff(&reason, asked);
                return self.refused(StatusCode::BAD_GATEWAY, None);
            }
        };
        gateway.note_success(StatusCode::OK, asked);
        let mut ask = gateway.fill_in(ask, handoff, asked, question);
        // It has come with the head.
        ask.pad = 0;
        match gateway.streams.open_within(ask, gateway.draining.clone()) {
            Opened::Stay(response) => response.into_body(),
            Opened::Over => self.refused(StatusCode::NO_CONTENT, None),
            Opened::Disconnected | Opened::Full(_) => self.refused(StatusCode::SERVICE_UNAVAILABLE, None),
        }
    }

    /// The event by which a page hears that there is no stream, with what makes its `EventSource` end, or come back
    /// later and later.
    fn refused(&self, status: StatusCode, headers: Option<&HeaderMap>) -> Body {
        tracing::warn!(
            status = status.as_u16(), path = self.asked.path(), request_id = %self.asked.id,
            "the backend's answer is no event stream, and came after `open_after`: the client is told in its stream"
        );
        let hint = self.gateway.hint(&self.asked, headers.and_then(retry_after));
        let id =
            if is_decision(status) { format!("id: {REFUSED}{}\n", status.as_u16()) } else { String::new() };
        Body::from(format!(
            "retry: {}\n{id}event: outboard.refused\ndata: {{\"status\":{}}}\n\n",
            hint.as_millis(),
            status.as_u16()
        ))
    }
}

/// Whether a status that came too late is given to the client when it comes back.
fn is_decision(status: StatusCode) -> bool {
    let is_final = status == StatusCode::NO_CONTENT || status.is_redirection() || status.is_client_error();
    is_final && !is_passing(status)
}

/// The status with which the client was refused before, if its last id says so.
fn refused_before(asked: &Asked) -> Option<StatusCode> {
    if !asked.is_event_source {
        return None;
    }
    let id = last_event_id(&asked.head.map(), asked.head.query())?;
    let status = id.strip_prefix(REFUSED)?.parse::<u16>().ok()?;
    StatusCode::from_u16(status).ok().filter(|&status| is_decision(status))
}
