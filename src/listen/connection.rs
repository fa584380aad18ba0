//! One HTTP/1 connection: hyper reads the requests and writes the answers, until an answer takes
//! the socket away from it.
//!
//! A held client would cost hyper's buffers and a task for as long as it stays. So the answer to a
//! request can be a [`Takeover`] instead of a response: hyper, which has then written nothing for
//! this request, is dropped, and the socket goes on without it.

use std::convert::Infallible;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::{Io, Socket, WriteState};
use crate::body::Body;
use crate::drain::Draining;

/// What a request comes to.
pub enum Answer {
    /// A response for hyper to write.
    Response(Response<Body>),
    /// Nothing more for hyper to do: the socket goes to somebody else.
    Takeover(Takeover),
}

/// Receives the socket, on which nothing of an answer has been written, and what was read beyond
/// the request's head. Dropped uncalled if the client leaves first.
pub struct Takeover(pub Box<dyn FnOnce(Socket, Bytes) + Send>);

/// How a connection is served.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a client that has shut down its writing side still gets its answer. Off for the
    /// public, where it is how we learn that a client has left.
    pub half_close: bool,
    /// How long the head of a request may take, counted from the end of the one before.
    pub header_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub write_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            half_close: false,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The most bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;
/// The most lines of a request's head.
const MAX_HEADERS: usize = 128;

/// Serves the requests of one connection until it closes, is taken over, or the drain begins and
/// the request in hand is answered. `read_ahead` is what somebody has already read from it.
pub async fn serve<S, F>(
    socket: Socket,
    read_ahead: Bytes,
    options: Options,
    mut draining: Draining,
    answer: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Unpin + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(None));
    let write_state = Arc::new(WriteState::default());
    let io = Io::new(socket, read_ahead, options.write_timeout, Arc::clone(&write_state));
    let service = Service { answer, slot: Arc::clone(&slot) };

    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .half_close(options.half_close)
        .preserve_header_case(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);

    let mut drain = std::pin::pin!(draining.begun());
    let mut drained = false;
    let taken = future::poll_fn(|cx| {
        if !drained && drain.as_mut().poll(cx).is_ready() {
            drained = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let served = connection.poll_without_shutdown(cx);
        // An earlier, pipelined request's answer may still wait in hyper's buffer: only once the
        // socket has taken all of it may hyper go.
        if !write_state.is_blocked()
            && let Some(takeover) = slot.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return Poll::Ready(Some(takeover));
        }
        served.map(|_| None)
    })
    .await;

    let parts = connection.into_parts();
    let (socket, io_ahead) = parts.io.into_parts();
    match taken {
        Some(Takeover(take)) => {
            let read_ahead = if io_ahead.is_empty() { parts.read_buf } else { io_ahead };
            take(socket, read_ahead);
        }
        // In a box of its own, for its buffer would else be a part of every connection.
        None => Box::pin(linger(socket)).await,
    }
}

/// Hands hyper the requests' futures, and keeps what is not for hyper.
struct Service<S> {
    answer: S,
    slot: Arc<Mutex<Option<Takeover>>>,
}

impl<S, F> hyper::service::Service<Request<Incoming>> for Service<S>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (answer, slot) = (self.answer.clone(), Arc::clone(&self.slot));
        Box::pin(async move {
            // Called in here, the answer's future is made in its place; given to this one it would be
            // held twice, and it is large.
            match answer(request).await {
                Answer::Response(response) => Ok(response),
                Answer::Takeover(takeover) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
                    // Whoever polls the connection finds the slot filled and never polls us again.
                    future::pending().await
                }
            }
        })
    }
}

/// Closes a socket so that the client can read to the end of what we wrote.
///
/// Closing while bytes of the client are unread resets the connection, and the reset can overtake
/// our answer (RFC 9112 9.6). So we end our side and read on for a moment.
async fn linger(mut socket: Socket) {
    const PATIENCE: Duration = Duration::from_secs(2);
    const MOST: usize = 1 << 20;

    let read_to_end = async {
        socket.shutdown().await?;
        let mut scrap = [0; 4096];
        let mut read = 0;
        while read < MOST {
            match socket.read(&mut scrap).await? {
                0 => break,
                n => read += n,
            }
        }
        std::io::Result::Ok(())
    };
    // Whether the client is gone, silent or still talking: it had its chance.
    let _ = tokio::time::timeout(PATIENCE, read_to_end).await;
}
