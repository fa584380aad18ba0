//! The publish socket: frames or HTTP from the old application, as the first line says.
//!
//! Both languages end in the same [`Api`]. What is promised to publishers:
//!
//! - what one connection carries is published in the order written;
//! - what a publisher has sent is published, whether or not it stays, and whether or not it ever
//!   reads a reply;
//! - no publisher waits for another one's replies, nor for any subscriber.

mod frames;
pub mod http;
mod replies;
mod sniff;
pub mod socket;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::broker::{self, Broker};
use crate::drain::Draining;
use crate::event::frame::Code;
use crate::listen::Socket;
use crate::listen::accept::pause_after;
use crate::listen::connection::{self, Options};
use crate::metrics::Metrics;
use crate::proxy::Backend;
use crate::subscribe::Streams;

pub use socket::Settings;

use http::Door;
use sniff::Language;
use socket::Bound;

/// What the languages of publishers are answered from.
pub struct Api {
    /// Where events go.
    pub broker: Arc<Broker>,
    /// Who holds those that listen over the API.
    pub streams: Streams,
    /// Whose state readiness depends on.
    pub backend: Arc<Backend>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The most bytes of a frame, or of the body of an HTTP request.
    pub max_event_size: usize,
}

/// Serves the socket until the drain begins, then what has been sent by then, and returns when the
/// last connection is done. The file goes when the drain begins.
///
/// # Errors
/// When the socket cannot be registered with the runtime; nothing has been served then.
pub async fn serve(bound: Bound, api: Arc<Api>, mut draining: Draining) -> io::Result<()> {
    let Bound { listener, place, max_publishers } = bound;
    let listener = UnixListener::from_std(listener)?;
    let door = Publishers {
        api,
        room: Arc::new(Semaphore::new(max_publishers)),
        draining: draining.clone(),
        path: place.path().display().to_string(),
    };

    tokio::select! {
        () = draining.begun() => {}
        () = door.accept_all(&listener) => {}
    }
    // Nobody can connect from here on; who did before may have sent something and left.
    place.give_up();
    door.accept_waiting(listener.into_std()?).await;
    let everybody = u32::try_from(max_publishers).unwrap_or(u32::MAX);
    let _ = door.room.acquire_many(everybody).await;
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
        loop {
            // Waiting for room before accepting leaves the rest in the kernel's queue.
            let Some(permit) = self.room().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, permit),
                Err(error) => pause_after(&error, &self.path).await,
            }
        }
    }

    async fn accept_waiting(&self, listener: std::os::unix::net::UnixListener) {
        loop {
            let Some(permit) = self.room().await else { return };
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

    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    fn spawn(&self, stream: UnixStream, permit: OwnedSemaphorePermit) {
        let (api, draining) = (Arc::clone(&self.api), self.draining.clone());
        tokio::spawn(async move {
            converse(stream, api, draining).await;
            drop(permit);
        });
    }
}

async fn converse(stream: UnixStream, api: Arc<Api>, mut draining: Draining) {
    let Some((language, read_ahead)) = sniff::language(&stream, &mut draining).await else { return };
    match language {
        Language::Frames => frames::serve(stream, &read_ahead, &api, draining).await,
        Language::Http => {
            let options = Options { half_close: true, ..Options::default() };
            let answer = move |request| {
                let api = Arc::clone(&api);
                async move { api.answer(request, Door::Socket).await }
            };
            let stream = Socket::Unix(stream);
            connection::serve(stream, Bytes::from(read_ahead), options, draining, answer).await;
        }
    }
}

/// Lets the publisher send no more. What it has sent can still be read, to its end.
fn stop_sending(stream: &UnixStream) {
    // It fails only if the publisher is gone already.
    let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Read);
}

/// What a publisher is told when the log refuses.
fn code(refused: &broker::Refused) -> Code {
    match refused {
        broker::Refused::TooManyChannels(_) => Code::Overloaded,
    }
}
