//! An answer's body on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::fault::causes;
use super::lease::Lease;
use super::trailers::{self, Announced};
use crate::body::BodyError;
use crate::http1::{BodyReader, WriteError, Writer};

/// The body, and the link it comes over: read while the client takes what comes, given back at the
/// end, closed at once when dropped before.
pub(super) struct AnswerBody {
    /// `None` once the body has ended.
    pub(super) lease: Option<Lease>,
    pub(super) body: BodyReader,
    /// What is left of the request.
    pub(super) upload: Option<Writer>,
    /// Whether the link may be used again.
    pub(super) reusable: bool,
    /// An event stream has no length, whatever the backend said.
    pub(super) endless: bool,
    /// How long the backend may pause.
    pub(super) idle: Option<Duration>,
    /// The trailers that were announced and may pass.
    pub(super) trailers: Announced,
    /// What was asked for.
    pub(super) target: Box<str>,
}

/// The backend paused for too long within an answer.
#[derive(Debug, thiserror::Error)]
#[error("it sent nothing more for {0:?}; raise `idle_timeout` if it needs longer pauses")]
struct Paused(Duration);

impl AnswerBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        if let Some(upload) = &mut self.upload {
            match upload.poll(cx, &mut lease.link.socket) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.upload = None,
                Poll::Ready(Err(WriteError::Body(error))) => {
                    tracing::debug!(
                        backend = lease.inside.name,
                        "the client broke off while it was sending its request"
                    );
                    self.lease = None;
                    return Poll::Ready(Some(Err(error)));
                }
                // It wants no more of the request, but may have more to say.
                Poll::Ready(Err(WriteError::Socket(_))) => {
                    (self.upload, self.reusable) = (None, false);
                }
            }
        }
        let link = &mut *lease.link;
        if let Poll::Ready(frame) = self.body.poll_frame(cx, &mut link.reader, &mut link.socket) {
            link.disarm();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // The clock runs only while the client waits, so that one that reads slowly is not held against
        // the backend.
        let Some(idle) = self.idle else { return Poll::Pending };
        if !link.is_armed() {
            link.arm_until(Instant::now() + idle);
        }
        link.poll_overdue(cx).map(|()| Some(Err(Paused(idle).into())))
    }

    /// The end, as it should be.
    fn end(&mut self) {
        let reusable = self.reusable && self.upload.is_none();
        if let Some(lease) = self.lease.take().filter(|_| reusable) {
            lease.end();
        }
    }

    /// Too early an end: the client's message is broken off, and the operator told why.
    fn fail(&mut self, error: &BodyError) {
        if let Some(lease) = self.lease.take() {
            tracing::warn!(
                backend = lease.inside.name,
                // Without the query, in which a secret may stand.
                path = self.target.split('?').next(),
                cause = causes(&**error),
                "the backend broke off in the middle of its answer"
            );
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll_next(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Ready(None) => this.end(),
            // Given back before anybody asks for more: the next request may be there by then.
            Poll::Ready(Some(Ok(_))) if this.body.is_done() => this.end(),
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled.map_ok(|frame| trailers::keep(frame, &this.trailers))
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.left() {
            Some(left) if !self.endless => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}
