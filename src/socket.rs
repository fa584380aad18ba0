//! A connected socket of either kind.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket of either kind. These two write through; what is written to one is sure to be on its way
/// only once it was flushed all the same, because a kind that encrypts keeps bytes back.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// What has arrived on a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrived {
    /// Nothing.
    Nothing,
    /// At least a byte.
    Bytes,
    /// The end, in order or not.
    End,
}

macro_rules! each {
    ($socket:expr, $stream:ident => $body:expr) => {
        match $socket {
            Socket::Tcp($stream) => $body,
            Socket::Unix($stream) => $body,
        }
    };
}

impl Socket {
    /// What has arrived and was not read: the answer of the kernel itself, where tokio may not have heard of
    /// it yet. It costs a system call.
    pub fn arrived(&self) -> Arrived {
        let mut byte = [MaybeUninit::uninit(); 1];
        match each!(self, stream => SockRef::from(stream).peek(&mut byte)) {
            Ok(0) => Arrived::End,
            Ok(_) => Arrived::Bytes,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Arrived::Nothing,
            Err(_) => Arrived::End,
        }
    }

    /// Where the other end is, for people.
    pub fn client(&self) -> String {
        match self {
            Self::Tcp(stream) => {
                stream.peer_addr().map_or_else(|_| "gone".into(), |peer| peer.ip().to_string())
            }
            Self::Unix(_) => "unix".into(),
        }
    }

    /// Closes it such that the peer cannot take what it has got for all there was: with a reset.
    pub fn reset(self) {
        // If it cannot be done, the peer is gone already.
        let _ = each!(&self, stream => SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)));
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
