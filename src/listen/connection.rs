//! One HTTP/1 connection: hyper reads the requests and writes the answers, until an answer takes
//! the socket away from it.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpStream, UnixStream};

use crate::body::Body;
use crate::drain::Draining;

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Socket {
    /// From a TCP listener.
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
}

/// What a request comes to.
pub enum Answer {
    /// A response for hyper to write.
    Response(Response<Body>),
    /// Nothing more for hyper to do: the socket goes to somebody else.
    Takeover(Takeover),
}

/// Receives the socket, still silent, and what was read beyond the request.
pub struct Takeover(pub Box<dyn FnOnce(Socket, Bytes) + Send>);

/// How a connection is served.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a client that has shut down its writing side still gets its answer.
    pub half_close: bool,
}

/// Serves the requests of one connection until it closes, is taken over, or the drain begins and
/// the request in hand is answered. `read_ahead` is what somebody has already read from it.
pub async fn serve<S, F>(
    _socket: Socket,
    _read_ahead: Bytes,
    _options: Options,
    _draining: Draining,
    _answer: S,
) where
    S: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    todo!()
}
