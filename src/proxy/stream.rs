//! A connected socket to the backend, which knows whether anything has gone over it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

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

/// What has happened on a connection since [`Traffic::begin`]; decides whether a request that failed
/// may be sent again.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicBool,
    asking_kernel: AtomicBool,
}

impl Traffic {
    /// Forgets the last exchange.
    pub(super) fn begin(&self) {
        self.received.store(false, Ordering::Relaxed);
    }

    /// Whether the backend has sent a byte.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// While on, each read asks the kernel for the connection's end, rather than tokio, which may not
    /// have heard of it yet.
    pub(super) fn ask_kernel(&self, on: bool) {
        self.asking_kernel.store(on, Ordering::Relaxed);
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
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
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
