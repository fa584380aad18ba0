//! A request's body on its way to the backend, watched, so that a client that stops sending is told
//! from a backend that does not answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};

/// How a request's body gets on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// The backend has not taken what it could take.
    WaitsForBackend,
    /// The client has not sent more yet.
    WaitsForClient,
    /// The client has broken off.
    Failed,
    /// All of it has been handed to the connection.
    Complete,
}

const STATES: [State; 4] = [State::WaitsForBackend, State::WaitsForClient, State::Failed, State::Complete];

/// Known to the body and to whoever waits for the answer.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    pub(super) fn state(&self) -> State {
        STATES[(self.0.load(Ordering::Relaxed) % 4) as usize]
    }

    /// A number that changes whenever the body gets on.
    pub(super) fn mark(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / 4
    }

    fn set(&self, state: State, moved: bool) {
        let mark = self.mark() + u64::from(moved);
        self.0.store(mark * 4 + state as u64, Ordering::Relaxed);
    }
}

/// The body itself.
struct Upload {
    body: Body,
    progress: Arc<Progress>,
}

/// Watches `body`.
pub(super) fn watch(body: Body) -> (Body, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    (Body::stream(Upload { body, progress: progress.clone() }), progress)
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Pending => this.progress.set(State::WaitsForClient, false),
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.progress.set(State::Complete, true),
            Poll::Ready(Some(Ok(_))) => this.progress.set(State::WaitsForBackend, true),
            Poll::Ready(Some(Err(_))) => this.progress.set(State::Failed, false),
            Poll::Ready(None) => this.progress.set(State::Complete, true),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
