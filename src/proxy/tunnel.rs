//! Tunnels: what a WebSocket's connection becomes once the backend has agreed to `Upgrade`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};

use super::pool::Permit;
use crate::socket::Socket;

/// How long neither side may say anything.
pub const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// The backend's side of a tunnel.
pub struct Upstream {
    socket: Socket,
    /// What it has said beyond its answer's head.
    read_ahead: Bytes,
    /// Its place among the streams.
    permit: Option<Permit>,
}

/// How a tunnel came to its end.
#[derive(Debug)]
pub enum End {
    /// Both sides are done. So many bytes went to the backend, and to the client.
    Closed(u64, u64),
    /// One of the sides broke off.
    Broken(io::Error),
    /// Neither side said anything for so long.
    Idle(Duration),
}

impl Upstream {
    pub(super) fn new(socket: Socket, read_ahead: Bytes, permit: Option<Permit>) -> Self {
        Self { socket, read_ahead, permit }
    }
}

/// Writes `head` to the client's socket and connects it with the backend until both are done: the end of what
/// one side says is passed on to the other, which may still answer. `read_ahead` is what the client has
/// said beyond its request. Dropping the future closes both sides.
pub async fn run<C>(client: C, read_ahead: Bytes, head: Vec<u8>, upstream: Upstream) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    connect(client, read_ahead, head, upstream, IDLE_LIMIT).await
}

async fn connect<C>(
    mut client: C,
    read_ahead: Bytes,
    head: Vec<u8>,
    upstream: Upstream,
    limit: Duration,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let _permit = upstream.permit;
    let mut first_words = head;
    first_words.extend_from_slice(&upstream.read_ahead);
    let moved = Arc::new(AtomicU64::new(0));
    let copy = async {
        client.write_all(&first_words).await?;
        let mut client = Side { read_ahead, socket: client, moved: moved.clone() };
        let mut backend = Side { read_ahead: Bytes::new(), socket: upstream.socket, moved: moved.clone() };
        copy_bidirectional(&mut client, &mut backend).await
    };
    tokio::select! {
        copied = copy => match copied {
            Ok((up, down)) => End::Closed(up, down),
            Err(cause) => End::Broken(cause),
        },
        () = silence(&moved, limit) => End::Idle(limit),
    }
}

/// Returns once nothing has moved for `limit`, and before it is twice that long.
async fn silence(moved: &AtomicU64, limit: Duration) {
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limit).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// One end of the tunnel, with what was read from it before.
struct Side<S> {
    read_ahead: Bytes,
    socket: S,
    moved: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Side<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read_ahead.is_empty() {
            let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
            this.moved.fetch_add(buffer.filled().len() as u64, Ordering::Relaxed);
            return read;
        }
        let size = this.read_ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.read_ahead[..size]);
        this.read_ahead.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Side<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel with a plain socket at each end.
    async fn tunnel(
        limit: Duration,
    ) -> (tokio::net::UnixStream, tokio::net::UnixStream, impl Future<Output = End>) {
        let (client, client_side) = tokio::net::UnixStream::pair().unwrap();
        let (backend, backend_side) = tokio::net::UnixStream::pair().unwrap();
        let upstream = Upstream::new(Socket::Unix(backend_side), Bytes::from_static(b"hello "), None);
        let run = connect(client_side, Bytes::from_static(b"early "), b"HEAD ".to_vec(), upstream, limit);
        (client, backend, run)
    }

    async fn read_all(socket: &mut tokio::net::UnixStream) -> String {
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(socket, &mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_each_side_ends_by_itself() {
        let (mut client, mut backend, run) = tunnel(IDLE_LIMIT).await;
        let run = tokio::spawn(run);

        client.write_all(b"up").await.unwrap();
        client.shutdown().await.unwrap();
        let heard = read_all(&mut backend).await;
        backend.write_all(b"down").await.unwrap();
        drop(backend);
        let answered = read_all(&mut client).await;

        assert_eq!(heard, "early up");
        assert_eq!(answered, "HEAD hello down");
        assert!(matches!(run.await.unwrap(), End::Closed(8, 4)));
    }

    #[tokio::test]
    async fn a_tunnel_in_which_nothing_moves_ends() {
        let limit = Duration::from_millis(50);
        let (_client, _backend, run) = tunnel(limit).await;

        assert!(matches!(run.await, End::Idle(time) if time == limit));
    }
}
