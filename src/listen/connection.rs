//! One HTTP/1 connection: requests are read, answered one after the other, and the answers written,
//! until an answer takes the socket away.
//!
//! One task does all of it: the handler's future runs within the connection's own, so that a request
//! costs no wake-up that the network does not cause. While a request is answered, the socket is
//! watched, and a client that leaves takes the handler's future along.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::request::Request;
use super::wire::{Wire, lock};
use crate::body::Body;
use crate::drain::Draining;
use crate::http1::{Length, Refusal, Reply, RequestHead, Terms, WriteError, Writer};
use crate::socket::Socket;
use crate::vigil::Watch;

/// What a request comes to. `T` is who may take the socket in place of an answer.
pub enum Handled<T> {
    /// A response of ours.
    Response(Response<Body>),
    /// An answer that is passed on.
    Reply(Reply),
    /// Nothing more to do here: the socket goes to somebody else. In a box, because few requests come to
    /// this and every request keeps room for it.
    Taken(Box<T>),
}

/// Somebody who takes a socket, on which nothing of an answer has been written. Dropped, if the client
/// leaves first.
pub trait TakesOver {
    /// Goes on with the socket. `read_ahead` is what was read beyond the request's head. To be called in a
    /// tokio runtime; returns soon.
    fn take_over(self, socket: Socket, read_ahead: Bytes);
}

/// For servers that answer every request.
impl TakesOver for Infallible {
    fn take_over(self, _socket: Socket, _read_ahead: Bytes) {
        match self {}
    }
}

impl<T> Handled<T> {
    /// The same for a caller to whom those who take sockets are known as `U`.
    pub fn widen<U: From<T>>(self) -> Handled<U> {
        match self {
            Self::Response(response) => Handled::Response(response),
            Self::Reply(reply) => Handled::Reply(reply),
            Self::Taken(taker) => Handled::Taken(Box::new((*taker).into())),
        }
    }
}

/// How a connection is served.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a client that has shut down its writing side still gets its answer. Off for the
    /// public, where it is how we learn that a client has left.
    pub half_close: bool,
    /// How long the head of a request may take, from its first byte on; that of the first request from the
    /// connection's beginning.
    pub header_timeout: Duration,
    /// How long a client may pause between two requests. A server in front keeps connections for its clients,
    /// and loses a request that it sends while we close: this is longer than nginx (60 s) and others keep them.
    pub idle_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it; without a limit, as long as its
    /// connection lives.
    pub write_timeout: Option<Duration>,
}

/// How long a client may take nothing that has sent more than may wait: nobody sees such a one leave.
const OVERRUN_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for Options {
    fn default() -> Self {
        Self {
            half_close: false,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Some(Duration::from_secs(30)),
        }
    }
}

/// Serves the requests of one connection until it closes, is taken over, or the drain begins and
/// the request in hand is answered. `read_ahead` is what somebody has already read from it.
pub async fn serve<S, F, T>(
    socket: Socket,
    read_ahead: Bytes,
    options: Options,
    draining: Draining,
    answer: S,
) -> End
where
    S: Fn(Request) -> F,
    F: Future<Output = Handled<T>>,
    T: TakesOver,
{
    let heard = draining.clone();
    let mut connection = Connection {
        wire: Arc::new(Mutex::new(Wire::new(socket, read_ahead))),
        options,
        draining,
        drain: pin!(heard.begun()),
        drain_wakes: None,
        clock: pin!(sleep(options.header_timeout)),
        deadline: Instant::now(),
        buffer: Vec::new(),
        is_first: true,
    };
    while let Some((head, length)) = connection.next().await {
        let terms = Terms::of(&head);
        let request = Request::begin(head, length, &mut connection.wire(), &connection.wire);
        let answered = connection.while_there(pin!(answer(request))).await;
        let reply = match answered {
            None => {
                drop(lock(&connection.wire).take());
                return End::Closed;
            }
            Some(Handled::Taken(taker)) => {
                connection.give_away(*taker);
                return End::TakenOver;
            }
            Some(Handled::Response(response)) => response.into(),
            Some(Handled::Reply(reply)) => reply,
        };
        if connection.write(reply, terms).await == After::Close {
            break;
        }
    }
    connection.close().await;
    End::Closed
}

/// What has become of a connection that is not served any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The client has left, or was sent away.
    Closed,
    /// Somebody else has its socket.
    TakenOver,
}

/// An answer that takes so long to write is looked after: its client may vanish.
const LONG: Duration = Duration::from_secs(5);

/// How the writing of an answer gets on.
struct Progress {
    /// How much the client had taken when it last took nothing.
    stalled_at: Option<u64>,
    begun: Instant,
    /// Whether the client is still there, once that is in question. The inner one is empty where nobody can see it.
    watch: Option<Option<Watch>>,
}

impl Progress {
    /// Ready, with an error, once the client has vanished.
    fn poll_vanished(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<Result<(), WriteError>> {
        match self.watch.get_or_insert_with(|| wire.watch()) {
            Some(watch) => watch.poll_gone(cx).map(|()| Err(gone())),
            None => Poll::Pending,
        }
    }
}

/// A connection at work. The drain and the clock lie in the future that owns it.
struct Connection<'a, D> {
    wire: Arc<Mutex<Wire>>,
    options: Options,
    draining: Draining,
    drain: Pin<&'a mut D>,
    /// Whom it wakes.
    drain_wakes: Option<Waker>,
    /// For the head that is awaited, or for a client that takes nothing. It may ring before the deadline: to
    /// leave it as it is costs less, request after request, than to set it anew.
    clock: Pin<&'a mut Sleep>,
    deadline: Instant,
    /// What the last answer was written from, which the next one is too.
    buffer: Vec<u8>,
    /// Whether no request has come yet.
    is_first: bool,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    Next,
    Close,
}

impl<D: Future> Connection<'_, D> {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }

    /// The next request's head and the length of its body; `None` once there is none. What is no request
    /// is refused, and then there is none any more.
    async fn next(&mut self) -> Option<(RequestHead, Length)> {
        let is_first = std::mem::take(&mut self.is_first);
        let mut has_begun = is_first || !self.wire().is_idle();
        self.set_clock(if has_begun { self.options.header_timeout } else { self.options.idle_timeout });
        match future::poll_fn(|cx| self.poll_next(cx, &mut has_begun)).await? {
            Ok(request) => Some(request),
            Err(refusal) => {
                self.write(refused(refusal).into(), Terms::UNKNOWN).await;
                None
            }
        }
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        has_begun: &mut bool,
    ) -> Poll<Option<Result<(RequestHead, Length), Refusal>>> {
        let mut wire = lock(&self.wire);
        if let Poll::Ready(next) = wire.poll_head(cx) {
            return Poll::Ready(next);
        }
        let is_idle = wire.is_idle();
        drop(wire);
        if !is_idle && !std::mem::replace(has_begun, true) {
            self.set_clock(self.options.header_timeout);
        }
        // A request that has begun is let in, and answered with the word that it was the last one: also one that
        // has just come, and of which only the kernel knows.
        if is_idle && self.drain_has_begun(cx) {
            return if self.wire().has_something() {
                self.poll_clock(cx).map(|()| None)
            } else {
                Poll::Ready(None)
            };
        }
        if self.poll_clock(cx).is_pending() {
            return Poll::Pending;
        }
        if !std::mem::replace(has_begun, true) && self.wire().has_something() {
            self.set_clock(self.options.header_timeout);
            return self.poll_clock(cx).map(|()| None);
        }
        Poll::Ready(None)
    }

    fn drain_has_begun(&mut self, cx: &mut Context<'_>) -> bool {
        // The future is of no use once it has ended, and need not be told the same waker twice.
        if self.draining.has_begun() {
            return true;
        }
        if self.drain_wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return false;
        }
        self.drain_wakes = Some(cx.waker().clone());
        self.drain.as_mut().poll(cx).is_ready()
    }

    fn set_clock(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
        if self.deadline < self.clock.deadline() {
            self.clock.as_mut().reset(self.deadline);
        }
    }

    /// Ready at the deadline.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.clock.as_mut().poll(cx));
        if self.deadline <= Instant::now() {
            return Poll::Ready(());
        }
        self.clock.as_mut().reset(self.deadline);
        self.clock.as_mut().poll(cx)
    }

    /// What `answering` comes to; `None` if the client leaves before.
    async fn while_there<F: Future>(&self, mut answering: Pin<&mut F>) -> Option<F::Output> {
        future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = answering.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            self.wire().poll_gone(cx, self.options.half_close).map(|()| None)
        })
        .await
    }

    async fn write(&mut self, reply: Reply, terms: Terms) -> After {
        // What is left of a request would be taken for the next one's beginning.
        let close = !self.wire().is_body_read() || self.draining.has_begun();
        let (mut writer, close) = reply.into_writer(terms, close, std::mem::take(&mut self.buffer));
        let mut progress = Progress { stalled_at: None, begun: Instant::now(), watch: None };
        let written = future::poll_fn(|cx| self.poll_write(cx, &mut writer, &mut progress)).await;
        self.buffer = writer.take_buffer();
        match written {
            Ok(()) if close => After::Close,
            // It may have been given up on while its answer was written.
            Ok(()) if !self.wire().is_body_read() => After::Close,
            Ok(()) => After::Next,
            Err(_) if writer.ends_with_connection() => {
                // An orderly end would make half an answer look like a whole one, also to a client that
                // has only been slow, or has only ended its side.
                if let Some(socket) = self.wire().take().map(|(socket, _)| socket) {
                    socket.reset();
                }
                After::Close
            }
            Err(error) => {
                tracing::debug!(%error, "an answer was not written to its end");
                After::Close
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        progress: &mut Progress,
    ) -> Poll<Result<(), WriteError>> {
        let limit = loop {
            // The body may read from the same socket, so the two take turns with it.
            let has_more = writer.gather(cx);
            let mut wire = lock(&self.wire);
            match wire.poll_write(cx, writer) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if writer.is_done() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if has_more => {}
                Poll::Ready(Ok(())) => {
                    if wire.poll_gone(cx, self.options.half_close).is_ready() {
                        return Poll::Ready(Err(gone()));
                    }
                    if wire.is_overrun() {
                        break Some(self.options.write_timeout.unwrap_or(OVERRUN_TIMEOUT));
                    }
                    progress.stalled_at = None;
                    // Of a client to which nothing is sent the kernel asks by itself.
                    if progress.begun.elapsed() < LONG {
                        return Poll::Pending;
                    }
                    return progress.poll_vanished(cx, &wire);
                }
                Poll::Pending => {
                    if progress.poll_vanished(cx, &wire).is_ready() {
                        return Poll::Ready(Err(gone()));
                    }
                    break self.options.write_timeout;
                }
            }
        };
        let Some(limit) = limit else { return Poll::Pending };
        if progress.stalled_at != Some(writer.taken()) {
            progress.stalled_at = Some(writer.taken());
            self.set_clock(limit);
        }
        self.poll_clock(cx).map(|()| Err(stalled()))
    }

    fn give_away(self, taker: impl TakesOver) {
        if let Some((socket, read_ahead)) = lock(&self.wire).take() {
            taker.take_over(socket, read_ahead);
        }
    }

    async fn close(self) {
        let patience = if self.wire().is_body_read() { Patience::SHORT } else { Patience::LONG };
        let taken = self.wire().take();
        if let Some((socket, _)) = taken {
            // In a box of its own, because its buffer would otherwise be a part of every connection.
            Box::pin(linger(socket, patience, self.draining)).await;
        }
    }
}

fn gone() -> WriteError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the client left").into()
}

fn stalled() -> WriteError {
    io::Error::new(io::ErrorKind::TimedOut, "the client took no bytes for too long").into()
}

/// What a client is told whose request cannot be understood, or could be understood in two ways.
fn refused(refusal: Refusal) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{refusal}\n")));
    *response.status_mut() = refusal.status();
    let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}

/// How long a client that was answered may go on sending.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// In all.
    total: Duration,
    /// From one piece to the next.
    pause: Duration,
}

impl Patience {
    /// For a client that has no reason to send anything more.
    const SHORT: Self = Self { total: Duration::from_secs(2), pause: Duration::from_secs(2) };
    /// For a client in the middle of its request: many send all of it before they look for an answer. As nginx
    /// has it (`lingering_time`, `lingering_timeout`).
    const LONG: Self = Self { total: Duration::from_secs(30), pause: Duration::from_secs(5) };
}

/// Closes a socket so that the client can read to the end of what we wrote.
///
/// Closing while bytes of the client are unread resets the connection, and the reset can overtake
/// our answer (RFC 9112 section 9.6). So we end our side and read on for a while; for a moment, once the drain
/// has begun.
async fn linger(mut socket: Socket, patience: Patience, draining: Draining) {
    let read_to_end = async {
        socket.shutdown().await?;
        let mut scrap = [0; 16 << 10];
        loop {
            match timeout(patience.pause, socket.read(&mut scrap)).await?? {
                0 => return io::Result::Ok(()),
                _ => continue,
            }
        }
    };
    let drained = async {
        draining.begun().await;
        sleep(Patience::SHORT.total).await;
    };
    // Whether the client is gone, silent or still talking: it had its chance.
    tokio::select! {
        _ = timeout(patience.total, read_to_end) => {}
        () = drained => {}
    }
}

#[cfg(test)]
mod tests;
