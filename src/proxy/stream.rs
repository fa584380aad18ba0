//! A connected socket to the backend, which knows whether anything has gone over it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How much room for a request's head a link keeps from one request to the next.
const USUAL_HEAD: usize = 4 << 10;

/// A socket of either kind.
pub(super) enum Socket {
    /// To `http://host:port`.
    Tcp(TcpStream),
    /// To `unix:/path`.
    Unix(UnixStream),
}

/// A connection to the backend.
pub(super) struct Stream {
    socket: Socket,
    traffic: Arc<Traffic>,
}

/// How hyper's bytes of a request come onto the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Writing {
    /// As they are.
    #[default]
    Plain,
    /// As they are, and kept, for the request may have to be sent a second time. It has no body.
    Kept,
    /// Not at all: the request was written before hyper got the socket.
    Done,
}

/// What has happened on a connection since [`Traffic::begin`]; decides whether a request that failed
/// may be sent again.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicBool,
    asking_kernel: AtomicBool,
    request: Mutex<Record>,
}

/// The bytes of a request, kept where they pass anyway: that costs a copy of some hundred bytes, and
/// keeping the request itself would cost a copy of each of its headers.
#[derive(Debug, Default)]
struct Record {
    writing: Writing,
    bytes: Vec<u8>,
    /// How many of them the kernel has taken.
    taken: usize,
}

impl Traffic {
    /// Forgets the last exchange.
    pub(super) fn begin(&self, writing: Writing) {
        self.received.store(false, Ordering::Relaxed);
        let mut request = self.request();
        request.writing = writing;
        request.bytes.clear();
        // A link may rest for long after a request with an unusually large head.
        request.bytes.shrink_to(USUAL_HEAD);
        request.taken = 0;
    }

    /// Whether the backend has sent a byte.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// What was to be written of the request that was kept, taken or not.
    pub(super) fn take_request(&self) -> Vec<u8> {
        std::mem::take(&mut self.request().bytes)
    }

    /// While on, each read asks the kernel for the connection's end, rather than tokio, which may not
    /// have heard of it yet.
    pub(super) fn ask_kernel(&self, on: bool) {
        self.asking_kernel.store(on, Ordering::Relaxed);
    }

    fn request(&self) -> MutexGuard<'_, Record> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// `slices` are about to be written, after what the kernel has taken already.
    fn keep(&mut self, slices: &[IoSlice<'_>]) {
        self.bytes.truncate(self.taken);
        slices.iter().for_each(|slice| self.bytes.extend_from_slice(slice));
    }
}

impl Socket {
    /// Writes all of `bytes`.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

impl Stream {
    pub(super) fn new(socket: Socket, traffic: Arc<Traffic>) -> Self {
        Self { socket, traffic }
    }

    /// The answer of the kernel itself: something to read, or the end, is there.
    fn has_something(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        let peeked = match &self.socket {
            Socket::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Socket::Unix(stream) => SockRef::from(stream).peek(&mut byte),
        };
        !matches!(peeked, Err(cause) if cause.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.traffic.asking_kernel.load(Ordering::Relaxed) && this.has_something() {
            // Nobody has asked the backend anything, so whatever it says, the connection is over.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            this.traffic.received.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, traffic } = self.get_mut();
        let mut request = traffic.request();
        match request.writing {
            Writing::Done => return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum())),
            Writing::Kept => request.keep(slices),
            Writing::Plain => {}
        }
        let written = match socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        if let Poll::Ready(Ok(size)) = written {
            request.taken += size;
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Both kinds of sockets write through.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
