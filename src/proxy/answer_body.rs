//! An answer's body on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Lease;
use super::fault::causes;
use super::link::Overdue;
use super::upload::{Progress, State};
use crate::body::BodyError;

/// The body, and the link it comes over: driven while the client takes what comes, given back at the
/// end, closed at once when dropped before.
pub(super) struct AnswerBody {
    body: Incoming,
    /// `None` once the body has ended.
    lease: Option<Lease>,
    progress: Option<Arc<Progress>>,
    reusable: bool,
    /// An event stream has no length, whatever the backend said.
    endless: bool,
    idle: Option<Duration>,
    waiting: bool,
    /// Why it broke off; the client's side hears of it once it has had the time to write the rest.
    broken: Option<BodyError>,
}

/// The backend paused for too long within an answer.
#[derive(Debug, thiserror::Error)]
#[error("it sent nothing more for {0:?}; raise `idle_timeout` if it needs longer pauses")]
struct Paused(Duration);

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        lease: Lease,
        progress: Option<Arc<Progress>>,
        reusable: bool,
        endless: bool,
        clock: bool,
    ) -> Self {
        let idle = clock.then_some(lease.inside.settings.idle_timeout);
        Self { body, lease: Some(lease), progress, reusable, endless, idle, waiting: false, broken: None }
    }

    /// Waits for the next frame; the clock runs only meanwhile, so that a client that reads slowly is
    /// not held against the backend.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        if let (Some(idle), false) = (self.idle, self.waiting) {
            lease.link.arm_until(Instant::now() + idle);
        }
        self.waiting = true;
        let body = &mut self.body;
        match lease.link.poll(cx, |quiet| Pin::new(&mut *body).poll_frame(quiet)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(frame)) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Ready(Err(Overdue)) => Poll::Ready(Some(Err(Paused(self.idle.unwrap_or_default()).into()))),
        }
    }

    /// The end, as it should be.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take().filter(|_| self.reusable) {
            lease.end();
        }
    }

    /// Too early an end: the client's message is broken off, and the operator told why.
    fn fail(&mut self, error: &BodyError) {
        let Some(lease) = self.lease.take() else { return };
        if self.progress.as_ref().is_some_and(|progress| progress.state() == State::Failed) {
            tracing::debug!(
                backend = lease.inside.name,
                "the client broke off while it was sending its request"
            );
            return;
        }
        let mut cause = causes(&**error);
        if let Some(reason) = lease.link.cause() {
            cause = format!("{cause} ({})", causes(reason));
        }
        tracing::warn!(
            backend = lease.inside.name,
            cause,
            "the backend broke off in the middle of its answer"
        );
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
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = this.poll_next(cx);
        match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Err(error))) => {
                this.fail(&error);
                // hyper closes on an error without writing what it has gathered, head and all. It
                // does write when there is nothing more for the moment.
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None) => this.end(),
        }
        this.waiting = false;
        if let Some(lease) = &mut this.lease {
            lease.link.disarm();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.endless { SizeHint::default() } else { self.body.size_hint() }
    }
}
