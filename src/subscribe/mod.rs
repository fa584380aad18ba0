//! A client's stream: from the decision to hold a client until it leaves.
//!
//! [`Streams::open`] decides, and counts the client as a subscriber from that moment. Its socket is
//! then taken from tokio and kept by one of the fan-out threads, with a few hundred bytes and no
//! task. What it gets is what a cursor in the log reads, so nothing here queues events.

mod ask;
mod clock;
mod deliver;
mod end;
mod groups;
mod handle;
pub mod head;
mod initial;
mod last_event_id;
mod newcomer;
mod pace;
mod piece;
mod rest;
mod subscriber;
mod waiting;
mod wheel;
mod worker;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::sync::{Semaphore, mpsc};

pub use self::ask::{Ask, Initial, MayStay, OnEnd, Recheck};
pub use self::end::End;
use self::handle::{AskAgain, Command, Handle, Ticket};
pub use self::last_event_id::{PARAMETERS as LAST_EVENT_ID_PARAMETERS, last_event_id};
use self::newcomer::{Newcomer, Seat};
use self::subscriber::Held;
use self::worker::Worker;
use crate::body::Body;
use crate::broker::{Broker, Gap, Refused, Since, Subscribed, Subscription, Waiting};
use crate::drain::{Drain, Draining, drain};
use crate::listen::connection::{Handled, TakesOver};
use crate::metrics::Metrics;
use crate::socket::Socket;

/// What becomes of a client that cannot keep up and falls off the end of the history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slow {
    /// Its stream ends; it comes back by itself and is told of the gap.
    #[default]
    Disconnect,
    /// It is told of the gap and goes on with what is left.
    Skip,
}

/// How streams are kept (`[stream]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Silence after which a comment is sent.
    pub keep_alive: Duration,
    /// The reconnect hint in every stream's first bytes; each client gets it times 0.5 to 1.5.
    pub retry: Duration,
    /// What becomes of clients that cannot keep up.
    pub slow: Slow,
    /// How long a client may take none of what waits for it.
    pub stall: Duration,
    /// The kernel's send buffer of each stream, in bytes, as asked for with `SO_SNDBUF`.
    pub send_buffer: usize,
    /// The most streams at a time.
    pub max_subscribers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(3),
            slow: Slow::Disconnect,
            stall: Duration::from_secs(30),
            send_buffer: 16 << 10,
            max_subscribers: 20_000,
        }
    }
}

/// The engine that holds all clients.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    broker: Arc<Broker>,
    settings: Settings,
    metrics: Arc<Metrics>,
    workers: Arc<[Handle]>,
    /// Which thread gets the next client.
    turn: AtomicUsize,
    /// How many clients there are.
    seats: Arc<AtomicUsize>,
    drain: Drain,
    draining: Draining,
    /// Each client whose backend still writes its initial events has one of them.
    beginning: Arc<Semaphore>,
}

/// Where a client begins.
enum Place {
    /// In the log; with what it is told first, if it has missed something.
    InLog(Subscription, Option<Gap>),
    /// There is no log yet.
    Ahead(Waiting),
}

/// A client that is counted as a subscriber, and whose socket is still to come.
pub struct Stay {
    streams: Streams,
    place: Place,
    newcomer: Newcomer,
    opening: Bytes,
    initial: Option<Initial>,
}

impl TakesOver for Stay {
    fn take_over(self, socket: Socket, _read_ahead: Bytes) {
        let Self { streams, place, newcomer, opening, initial } = self;
        match place {
            Place::InLog(subscription, _) => streams.begin(socket, subscription, newcomer, opening, initial),
            Place::Ahead(waiting) => streams.hold_back(socket, waiting, newcomer, opening, initial),
        }
    }
}

/// More than there can be clients.
const ALL_BEGINNING: u32 = u32::MAX >> 3;

impl Streams {
    /// Starts the fan-out threads. To be called in a tokio runtime: it is where rechecks run.
    ///
    /// # Errors
    /// When the system gives no more threads or file handles.
    pub fn start(
        broker: Arc<Broker>,
        settings: Settings,
        metrics: Arc<Metrics>,
        threads: usize,
    ) -> io::Result<Self> {
        let (revoke, revoked) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Handle::current();
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let ask_again = ask_again(runtime.clone(), revoke.clone());
            let (worker, handle) =
                Worker::new(Arc::clone(&broker), settings, Arc::clone(&metrics), ask_again)?;
            std::thread::Builder::new().name(format!("fan-out-{number}")).spawn(move || worker.run())?;
            workers.push(handle);
        }
        let workers: Arc<[Handle]> = workers.into();
        // Weak: the threads end with the last of those who can ask them for something.
        runtime.spawn(end_revoked(revoked, Arc::downgrade(&workers)));
        let (turn, seats) = (AtomicUsize::new(0), Arc::default());
        let (drain, draining) = drain();
        let beginning = Arc::new(Semaphore::new(ALL_BEGINNING as usize));
        let inner = Inner { broker, settings, metrics, workers, turn, seats, drain, draining, beginning };
        Ok(Self(Arc::new(inner)))
    }

    /// How many clients are held.
    pub fn count(&self) -> usize {
        self.0.seats.load(Ordering::Relaxed)
    }

    /// Ends all streams, so that their clients come back, to whoever answers then. To be called in a
    /// tokio runtime.
    pub fn drain(&self) {
        self.0.drain.start();
        let streams = self.clone();
        tokio::spawn(async move {
            // The threads end with it, so those that still hear their backend are handed over first.
            let _ = streams.0.beginning.acquire_many(ALL_BEGINNING).await;
            streams.0.workers.iter().for_each(|worker| worker.ask(Command::Drain));
        });
    }

    /// The answer for a client that cannot be served just now, but soon.
    pub fn come_back(&self) -> Response<Body> {
        head::come_back(self.0.settings.retry)
    }

    /// Decides how `ask` is answered, and counts the client as a subscriber from now on: with a
    /// [`Stay`] that becomes its stream (a silent one, as long as there is no log); with `204` when all its
    /// channels are closed and it has seen all of them; or, when there is no room, with a `200` that asks
    /// it to come back.
    pub fn open(&self, ask: Ask) -> Handled<Stay> {
        let inner = &self.0;
        let Some(seat) = Seat::take(&inner.seats, inner.settings.max_subscribers) else {
            tracing::warn!(
                max_subscribers = inner.settings.max_subscribers,
                "no room for another stream; the client is asked to come back"
            );
            return Handled::Response(self.come_back());
        };
        let worker = inner.turn.fetch_add(1, Ordering::Relaxed) % inner.workers.len();
        let place = match self.place(&ask, worker) {
            Ok(Some(place)) => place,
            Ok(None) => {
                if let Some(on_end) = ask.on_end {
                    on_end.tell(End::Closed);
                }
                return Handled::Response(no_content());
            }
            Err(refused) => {
                tracing::warn!(%refused, "a stream cannot be opened; the client is asked to come back");
                return Handled::Response(self.come_back());
            }
        };
        inner.metrics.subscribed.add_one();

        let retry = ask.retry.unwrap_or_else(|| head::jittered(inner.settings.retry));
        let gap = if let Place::InLog(_, gap) = &place { gap.as_ref() } else { None };
        let opening = head::opening(ask.version, &ask.headers, retry, gap);
        let newcomer = Newcomer {
            worker,
            chunked: head::has_chunks(ask.version),
            keep_alive: ask.keep_alive.unwrap_or(inner.settings.keep_alive),
            recheck: ask.recheck,
            on_end: ask.on_end,
            seat,
        };
        let initial = ask.initial.filter(|initial| !initial.0.is_end_stream());
        Handled::Taken(Box::new(Stay { streams: self.clone(), place, newcomer, opening, initial }))
    }

    /// Where a client begins; `None` when all its channels are closed and it has seen all of them.
    fn place(&self, ask: &Ask, worker: usize) -> Result<Option<Place>, Refused> {
        let inner = &self.0;
        let since = Since { last_event_id: ask.last_event_id.as_deref(), replay: ask.replay };
        let (subject, reader) = (ask.subject.as_ref(), inner.workers[worker].reader);
        if let Some(waiting) = inner.broker.wait_for_log(&ask.channels, since, subject, reader) {
            return Ok(Some(Place::Ahead(waiting)));
        }
        Ok(match inner.broker.subscribe(&ask.channels, since, subject, reader)? {
            Subscribed::Open(subscription, gap) => Some(Place::InLog(subscription, gap)),
            Subscribed::Over => None,
        })
    }

    fn begin(
        self,
        mut socket: Socket,
        subscription: Subscription,
        newcomer: Newcomer,
        opening: Bytes,
        initial: Option<Initial>,
    ) {
        let Some(Initial(body)) = initial else {
            return self.adopt(newcomer, socket, subscription, opening);
        };
        let manner = newcomer.manner(self.0.settings.stall);
        // None is left once the drain is under way; then there is nothing to wait for either.
        let beginning = Arc::clone(&self.0.beginning).try_acquire_owned();
        tokio::spawn(async move {
            let draining = self.0.draining.clone();
            match initial::write(&mut socket, opening, body, manner, draining).await {
                Ok(unsent) => self.adopt(newcomer, socket, subscription, unsent),
                Err(error) => tracing::debug!(%error, "the client left during its initial events"),
            }
            drop(beginning);
        });
    }

    /// Gives a client into the care of its thread, which writes `unsent` first.
    fn adopt(&self, newcomer: Newcomer, socket: Socket, subscription: Subscription, unsent: Bytes) {
        let worker = &self.0.workers[newcomer.worker];
        match hold(socket, &self.0.settings) {
            Ok(held) => {
                worker.ask(Command::Adopt(newcomer.into_subscriber(held, subscription, unsent)));
            }
            Err(error) => tracing::warn!(%error, "cannot hold a client's socket"),
        }
    }
}

/// How a fan-out thread has the backend asked again: on tokio's threads, so that it does not wait itself.
fn ask_again(runtime: tokio::runtime::Handle, revoke: mpsc::UnboundedSender<Ticket>) -> AskAgain {
    Box::new(move |recheck, ticket| {
        let (may_stay, revoke) = ((recheck.ask)(), revoke.clone());
        runtime.spawn(async move {
            if !may_stay.await {
                let _ = revoke.send(ticket);
            }
        });
    })
}

/// Ends the streams of clients about which the backend, asked again, has said no.
async fn end_revoked(mut revoked: mpsc::UnboundedReceiver<Ticket>, workers: Weak<[Handle]>) {
    while let Some(ticket) = revoked.recv().await {
        let Some(workers) = workers.upgrade() else { return };
        if let Some(worker) = workers.iter().find(|worker| worker.reader == ticket.reader) {
            worker.ask(Command::End(ticket, End::Revoked));
        }
    }
}

/// The one answer that makes an `EventSource` stop (WHATWG HTML 9.2.3).
fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

/// Takes a socket from tokio, and makes the kernel keep little for it and notice its death.
fn hold(socket: Socket, settings: &Settings) -> io::Result<Held> {
    match socket {
        Socket::Tcp(stream) => {
            let stream = stream.into_std()?;
            let options = socket2::SockRef::from(&stream);
            options.set_send_buffer_size(settings.send_buffer)?;
            options.set_tcp_nodelay(true)?;
            options.set_tcp_user_timeout(Some(settings.stall))?;
            Ok(Held::Tcp(mio::net::TcpStream::from_std(stream)))
        }
        Socket::Unix(stream) => Ok(Held::Unix(mio::net::UnixStream::from_std(stream.into_std()?))),
    }
}
