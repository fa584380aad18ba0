//! The publish socket: frames or HTTP from the old application, as the first line says.
//!
//! Both languages end in the same [`Api`]. What is promised to publishers:
//!
//! - what one connection carries is published in the order written;
//! - what a publisher has sent is published, whether or not it stays, and whether or not it ever
//!   reads a reply;
//! - no publisher waits for another one's replies, nor for any subscriber.

mod frames;
mod replies;
mod sniff;
pub mod socket;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Door;
use crate::drain::{self, Draining};
use crate::listen::accept::{Room, pause_after};
use crate::listen::connection::{self, Options};
use crate::listen::unix;
use crate::socket::Socket;

use sniff::Language;
use socket::Bound;

pub use crate::api::Api;
pub use socket::Settings;

/// Serves the socket until the drain begins, then what has been sent by then, and returns when the
/// last connection is done. The file goes when the drain begins.
///
/// # Errors
/// When the socket cannot be registered with the runtime; nothing has been served then.
pub async fn serve(bound: Bound, api: Arc<Api>, draining: Draining) -> io::Result<()> {
    let Bound { socket: unix::Bound { listener, claim }, max_publishers } = bound;
    let listener = UnixListener::from_std(listener)?;
    let publishers = Publishers {
        api,
        room: Arc::new(Semaphore::new(max_publishers)),
        draining: draining.clone(),
        path: claim.path().display().to_string(),
    };

    tokio::select! {
        () = draining.begun() => {}
        () = publishers.accept_all(&listener) => {}
    }
    // Nobody can connect from here on; who did before may have sent something and left.
    claim.give_up();
    publishers.accept_waiting(listener.into_std()?).await;
    let everybody = u32::try_from(max_publishers).unwrap_or(u32::MAX);
    let _ = publishers.room.acquire_many(everybody).await;
    Ok(())
}

/// Takes publishers in, so many at a time.
struct Publishers {
    api: Arc<Api>,
    room: Arc<Semaphore>,
    draining: Draining,
    path: String,
}

impl Publishers {
    async fn accept_all(&self, listener: &UnixListener) {
        let mut room = Room::new(Arc::clone(&self.room));
        loop {
            let Some(permit) = room.enter(&self.path).await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, permit),
                Err(error) => pause_after(&error, &self.path).await,
            }
        }
    }

    async fn accept_waiting(&self, listener: std::os::unix::net::UnixListener) {
        let mut room = Room::new(Arc::clone(&self.room));
        loop {
            let Some(permit) = room.enter(&self.path).await else { return };
            let stream = listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            match stream {
                Ok(stream) => self.spawn(stream, permit),
                Err(_none_left) => return,
            }
        }
    }

    fn spawn(&self, stream: UnixStream, permit: OwnedSemaphorePermit) {
        let (api, draining) = (Arc::clone(&self.api), self.draining.clone());
        tokio::spawn(async move {
            converse(stream, api, draining).await;
            drop(permit);
        });
    }
}

async fn converse(stream: UnixStream, api: Arc<Api>, draining: Draining) {
    match sniff::language(&stream, &draining).await {
        Some((Language::Frames, read_ahead)) => frames::serve(stream, &read_ahead, &api, draining).await,
        Some((Language::Http, read_ahead)) => serve_http(stream, read_ahead.into(), api, draining).await,
        None => {}
    }
}

async fn serve_http(stream: UnixStream, read_ahead: Bytes, api: Arc<Api>, draining: Draining) {
    let Ok(handle) = stream.as_fd().try_clone_to_owned() else { return };
    let options = Options { half_close: true, ..Options::default() };
    let answer = move |request| Arc::clone(&api).answer(request, Door::Socket);
    // A connection that hears of a drain ends as soon as it is idle, with requests that have been sent and
    // not been read. Here the client cannot send any more, and the connection comes to its end by itself.
    let (_drain, never) = drain::drain();
    let served = connection::serve(Socket::Unix(stream), read_ahead, options, never, answer);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        _ = &mut served => return,
        () = draining.begun() => stop_sending(handle.as_fd()),
    }
    served.await;
}

/// Lets the publisher send no more. What it has sent can still be read, to its end.
fn stop_sending(stream: BorrowedFd<'_>) {
    // It fails only if the publisher is gone already.
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Read);
}
