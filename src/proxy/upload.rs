//! A request's body on its way to the backend, watched, so that a client that stops sending is told
//! from a backend that does not answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
#[derive(Debug)]
pub(super) struct Progress {
    state: AtomicU8,
    begun: Instant,
    /// Milliseconds from `begun` to when the state was last entered, or a piece last moved in it.
    moved: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        let state = AtomicU8::new(State::WaitsForBackend as u8);
        Self { state, begun: Instant::now(), moved: AtomicU64::new(0) }
    }

    pub(super) fn state(&self) -> State {
        STATES[usize::from(self.state.load(Ordering::Relaxed)) % STATES.len()]
    }

    /// Since when nothing has changed.
    pub(super) fn since(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    fn set(&self, state: State) {
        // A poll that finds the client still silent is no change.
        if self.state.swap(state as u8, Ordering::Relaxed) == state as u8 && state == State::WaitsForClient {
            return;
        }
        let moved = self.begun.elapsed().as_millis();
        self.moved.store(u64::try_from(moved).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The body itself.
struct Upload {
    body: Body,
    progress: Arc<Progress>,
}

/// Watches `body`.
pub(super) fn watch(body: Body) -> (Body, Arc<Progress>) {
    let progress = Arc::new(Progress::new());
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
        this.progress.set(match &polled {
            Poll::Pending => State::WaitsForClient,
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => State::Complete,
            Poll::Ready(Some(Ok(_))) => State::WaitsForBackend,
            Poll::Ready(Some(Err(_))) => State::Failed,
            Poll::Ready(None) => State::Complete,
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
