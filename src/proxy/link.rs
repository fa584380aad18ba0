//! One connection to the backend, driven by the task that uses it.
//!
//! hyper splits a connection in two: a sender, and a driver that does the reading and writing and is
//! meant for a task of its own. Here both lie in one place and whoever waits for an answer polls the
//! driver. That saves the task, the wake-ups between the two tasks for each request, and it makes the
//! end simple: dropping a link closes its socket, at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep};

use super::bell::Bell;
use super::stream::{Socket, Stream, Traffic, Writing};
use super::tunnel::Upstream;
use crate::body::Body;

/// The most bytes of an answer's head, and of an answer's body that wait here at a time.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// The most header lines of an answer.
pub(super) const MAX_LINES: usize = 300;

/// How often a link is polled again at once because of what happened while it was polled.
const ROUNDS: usize = 8;

/// A connection, open or just closed by the backend.
pub(super) struct Link {
    sender: SendRequest<Body>,
    /// `None` once the connection is over, unless it ended in an upgrade that was asked for.
    driver: Option<Connection<TokioIo<Stream>, Body>>,
    over: bool,
    may_upgrade: bool,
    cause: Option<hyper::Error>,
    bell: Arc<Bell>,
    waker: Waker,
    traffic: Arc<Traffic>,
    clock: Pin<Box<Sleep>>,
    armed: bool,
}

/// The time set with [`Link::arm`] is over.
#[derive(Debug)]
pub(super) struct Overdue;

/// What came of a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Body>>>;

impl Link {
    /// Makes a connected socket a link.
    pub(super) async fn over(socket: Socket) -> hyper::Result<Box<Self>> {
        let traffic = Arc::new(Traffic::default());
        let stream = Stream::new(socket, traffic.clone());
        let (sender, driver) = settings().handshake(TokioIo::new(stream)).await?;
        let bell = Bell::new();
        let waker = Waker::from(bell.clone());
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            over: false,
            may_upgrade: false,
            cause: None,
            bell,
            waker,
            traffic,
            clock: Box::pin(sleep(Duration::ZERO)),
            armed: false,
        }))
    }

    /// Hands a request to the connection, which sends it when it is driven.
    pub(super) fn begin(
        &mut self,
        request: Request<Body>,
        writing: Writing,
    ) -> impl Future<Output = Sent> + use<> {
        self.traffic.begin(writing);
        self.sender.try_send_request(request)
    }

    /// Drives the connection until `outcome` is there.
    pub(super) async fn drive<F: Future>(&mut self, mut outcome: Pin<&mut F>) -> Result<F::Output, Overdue> {
        std::future::poll_fn(|cx| self.poll(cx, |quiet| outcome.as_mut().poll(quiet))).await
    }

    /// Drives the connection until `step` is ready. `step` gets a context that wakes nobody, since
    /// nothing can happen to it while nobody drives the connection.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Overdue>> {
        self.bell.listen(cx.waker());
        for _ in 0..ROUNDS {
            self.bell.muffle();
            self.turn();
            if let Poll::Ready(outcome) = step(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(Ok(outcome));
            }
            if self.armed && self.clock.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
                return Poll::Ready(Err(Overdue));
            }
            if self.over && self.driver.take().is_some() {
                // No upgrade after all: with the driver goes whatever `step` was waiting for.
                continue;
            }
            if self.bell.open() {
                return Poll::Pending;
            }
        }
        // Others want to be polled too; this task goes on after them.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads and writes what can be read and written now.
    fn turn(&mut self) {
        if self.over {
            return;
        }
        let Some(driver) = &mut self.driver else { return };
        if let Poll::Ready(end) = driver.poll_without_shutdown(&mut Context::from_waker(&self.waker)) {
            self.over = true;
            self.cause = end.err();
            if !self.may_upgrade {
                self.driver = None;
            }
        }
    }

    /// Starts the clock: [`Link::poll`] ends with [`Overdue`] then.
    pub(super) fn arm_until(&mut self, deadline: Instant) {
        // Moving a timer to a later time takes no lock, so the timer stays where it is from one
        // request to the next, and a stray wake-up of an idle link is muffled.
        self.clock.as_mut().reset(deadline.into());
        self.armed = true;
    }

    /// Stops the clock.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Keeps the socket when the next answer is a 101, for [`Link::into_upstream`].
    pub(super) fn allow_upgrade(&mut self) {
        self.may_upgrade = true;
    }

    /// Whether the last exchange is complete and the connection takes another request.
    pub(super) fn is_ready(&self) -> bool {
        !self.over && self.sender.is_ready()
    }

    /// The same, after a look at the socket. With `thorough` the kernel is asked, which costs a system
    /// call and leaves only the time that the news of a close is under way.
    pub(super) fn is_alive(&mut self, thorough: bool) -> bool {
        self.bell.muffle();
        self.traffic.ask_kernel(thorough);
        self.turn();
        self.traffic.ask_kernel(false);
        self.is_ready()
    }

    /// Finishes what can be finished without waiting; whether the link may be used again.
    pub(super) fn settle(&mut self) -> bool {
        if !self.is_ready() {
            self.bell.muffle();
            self.turn();
        }
        self.is_ready()
    }

    /// Lets go of the task that used the link.
    pub(super) fn rest(&mut self) {
        self.armed = false;
        self.may_upgrade = false;
        self.bell.forget();
    }

    /// Whether the backend has answered the last request with a byte at least.
    pub(super) fn has_received(&self) -> bool {
        self.traffic.has_received()
    }

    /// The bytes of the last request, if they were kept.
    pub(super) fn take_request(&self) -> Vec<u8> {
        self.traffic.take_request()
    }

    /// Why the connection ended, if it has and there was a reason.
    pub(super) fn cause(&self) -> Option<&hyper::Error> {
        self.cause.as_ref()
    }

    /// The socket of a connection that ended in an upgrade.
    pub(super) fn into_upstream(mut self: Box<Self>) -> Option<Upstream> {
        self.turn();
        if !self.over {
            return None;
        }
        let parts = self.driver?.into_parts();
        Some(Upstream::new(parts.io.into_inner(), parts.read_buf))
    }
}

/// How hyper is set up.
fn settings() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_LINES)
        .preserve_header_case(true)
        // For the headers that we add ourselves.
        .title_case_headers(true);
    builder
}
