//! A client's stream: from the decision to hold a client until it leaves.
//!
//! [`Streams::open`] decides, and counts the client as a subscriber from that moment. Its socket is
//! then taken from tokio and kept by one of the fan-out threads, with a few hundred bytes and no
//! task. What it gets is what a cursor in the log reads, so nothing here queues events.

mod ask;
mod carried;
mod end;
mod fanout;
mod given;
pub mod head;
mod initial;
mod last_event_id;
mod newcomer;
mod promises;
mod stay;
mod waiting;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::sync::{Semaphore, mpsc};

pub use self::ask::{Ask, Initial};
use self::carried::Bodies;
pub use self::end::End;
use self::fanout::{AskAgain, Command, Handle, Held, Ticket, Worker};
pub use self::last_event_id::{PARAMETERS as LAST_EVENT_ID_PARAMETERS, last_event_id};
use self::newcomer::{Newcomer, Seat};
use self::promises::Bond;
pub use self::promises::{Answering, MayStay, Promises, Question, Recheck, Site};
pub use self::stay::{Full, Opened, Stay};
use crate::body::Body;
use crate::broker::{
    Broker, Ended, Gap, MOST_READERS, ReaderId, Refused, Role, Since, Subscribed, Subscription, Waiting, Wish,
};
use crate::drain::{Drain, Draining, drain};
use crate::http1::has_chunks;
use crate::metrics::Metrics;
use crate::socket::Socket;
use crate::vital;

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
    /// How long the backend may take for an event stream until its client gets the head of one.
    pub open_after: Duration,
    /// How long the site may leave the question unanswered whether a client may still listen.
    pub recheck_grace: Duration,
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
            open_after: Duration::from_secs(10),
            recheck_grace: Duration::from_secs(120),
        }
    }
}

/// The engine that holds all clients.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    broker: Arc<Broker>,
    site: Arc<dyn Site>,
    settings: Settings,
    metrics: Arc<Metrics>,
    workers: Arc<[Handle]>,
    /// Those who read for the bodies of responses.
    bodies: Bodies,
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

/// More than there can be clients.
const ALL_BEGINNING: u32 = u32::MAX >> 3;

impl Streams {
    /// Starts the fan-out threads. To be called in a tokio runtime: it is where `site` is asked about clients.
    ///
    /// # Errors
    /// When the system gives no more threads or file handles.
    pub fn start(
        broker: Arc<Broker>,
        site: Arc<dyn Site>,
        settings: Settings,
        metrics: Arc<Metrics>,
        threads: usize,
    ) -> io::Result<Self> {
        let (hear, heard) = mpsc::unbounded_channel();
        let ask_again = AskAgain::new(hear);
        let mut workers = Vec::new();
        for number in 0..threads.clamp(1, MOST_READERS - 1) {
            let (worker, handle) =
                Worker::new(Arc::clone(&broker), settings, Arc::clone(&metrics), ask_again.clone())?;
            vital::spawn(&format!("fan-out-{number}"), move || worker.run())?;
            workers.push(handle);
        }
        let workers: Arc<[Handle]> = workers.into();
        // Weak: the threads end with the last of those who can ask them for something.
        tokio::spawn(vital::task("rechecks", bring(heard, Arc::downgrade(&workers))));
        let bodies = Bodies::new(&broker);
        let (turn, seats) = (AtomicUsize::new(0), Arc::default());
        let (drain, draining) = drain();
        let beginning = Arc::new(Semaphore::new(ALL_BEGINNING as usize));
        let inner = Inner {
            broker,
            site,
            settings,
            metrics,
            workers,
            bodies,
            turn,
            seats,
            drain,
            draining,
            beginning,
        };
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

    /// The reconnect hint of those who have none of their own.
    pub fn retry(&self) -> Duration {
        self.0.settings.retry
    }

    /// A client is not to be held, though it was handed over: it has left before it came.
    pub fn turn_away(&self, ask: Ask) {
        if let Some(promises) = ask.promises {
            Bond::new(Arc::clone(&self.0.site), promises).end(End::Drained);
        }
    }

    /// Where in the log a subject was disconnected last. Whoever asks a backend whether somebody may listen
    /// takes note of it first.
    pub fn latest_disconnect(&self) -> u64 {
        self.0.broker.latest_disconnect()
    }

    /// Silence after which those get a comment who have no say of their own in it.
    pub fn keep_alive(&self) -> Duration {
        self.0.settings.keep_alive
    }

    /// How long the client of an event stream is left without a head of its answer.
    pub fn open_after(&self) -> Duration {
        self.0.settings.open_after
    }

    /// Decides how `ask` is answered, and if it is with a stream over a socket of its own, counts the client as a
    /// subscriber from now on.
    pub fn open(&self, ask: Ask) -> Opened<Box<Stay>> {
        let inner = &self.0;
        let worker = inner.turn.fetch_add(1, Ordering::Relaxed) % inner.workers.len();
        self.open_for(ask, inner.workers[worker].reader)
    }

    /// The same for a client whose stream goes over a connection that others share, or on which an answer has begun:
    /// the stream is a response, and ends with `draining` too.
    pub fn open_within(&self, ask: Ask, draining: Draining) -> Opened<Response<Body>> {
        match self.open_for(ask, self.0.bodies.reader) {
            Opened::Stay(stay) => Opened::Stay(stay.into_response(draining)),
            Opened::Over => Opened::Over,
            Opened::Disconnected => Opened::Disconnected,
            Opened::Full(full) => Opened::Full(full),
        }
    }

    fn open_for(&self, mut ask: Ask, reader: ReaderId) -> Opened<Box<Stay>> {
        let inner = &self.0;
        let bond = ask.promises.take().map(|promises| Bond::new(Arc::clone(&inner.site), promises));
        let Some(seat) = Seat::take(&inner.seats, inner.settings.max_subscribers) else {
            let full = Full::Seats(inner.settings.max_subscribers);
            tracing::warn!(%full, "a stream cannot be opened");
            return Opened::Full(full);
        };
        let place = match self.place(&ask, reader) {
            Ok(Ok(place)) => place,
            Ok(Err(ended)) => {
                if let Some(bond) = bond {
                    bond.end(ended.into());
                }
                return match ended {
                    Ended::Closed => Opened::Over,
                    Ended::Disconnected => Opened::Disconnected,
                };
            }
            Err(refused) => {
                tracing::warn!(%refused, "a stream cannot be opened");
                return Opened::Full(Full::Log(refused));
            }
        };
        if ask.role == Role::Listener {
            inner.metrics.subscribed.add_one();
        }

        let newcomer = Newcomer {
            reader,
            chunked: has_chunks(ask.version),
            keep_alive: ask.keep_alive.unwrap_or(inner.settings.keep_alive),
            bond,
            seat,
        };
        Opened::Stay(Box::new(Stay {
            streams: self.clone(),
            place,
            newcomer,
            version: ask.version,
            headers: ask.headers,
            retry: head::jittered(ask.retry.unwrap_or(inner.settings.retry)),
            pad: ask.pad,
            initial: ask.initial.filter(|initial| !initial.0.is_end_stream()),
        }))
    }

    /// Where a client begins; or why it is at its end already.
    fn place(&self, ask: &Ask, reader: ReaderId) -> Result<Result<Place, Ended>, Refused> {
        let inner = &self.0;
        let wish = Wish {
            channels: &ask.channels,
            since: Since { last_event_id: ask.last_event_id.as_deref(), replay: ask.replay },
            role: ask.role,
            subject: ask.subject.as_ref(),
            asked_at: ask.asked_at,
            reader,
        };
        if let Some(waiting) = inner.broker.wait_for_log(wish) {
            return Ok(Ok(Place::Ahead(waiting)));
        }
        Ok(match inner.broker.subscribe(wish)? {
            Subscribed::Open(subscription, gap) => Ok(Place::InLog(subscription, gap)),
            Subscribed::Over => Err(Ended::Closed),
            Subscribed::Disconnected => Err(Ended::Disconnected),
        })
    }

    /// Gives a client into the care of its thread, which writes `unsent` first.
    fn adopt(&self, newcomer: Newcomer, socket: Socket, subscription: Subscription, unsent: Bytes) {
        let Some(worker) = self.0.workers.iter().find(|worker| worker.reader == newcomer.reader) else {
            return;
        };
        match hold(socket, &self.0.settings) {
            Ok(held) => {
                worker.ask(Command::Adopt(newcomer.into_subscriber(held, subscription, unsent)));
            }
            Err(error) => tracing::warn!(%error, "cannot hold a client's socket"),
        }
    }
}

/// Brings what the site has said about clients to the threads that hold them.
async fn bring(mut heard: mpsc::UnboundedReceiver<(Ticket, MayStay)>, workers: Weak<[Handle]>) {
    while let Some((ticket, may_stay)) = heard.recv().await {
        let Some(workers) = workers.upgrade() else { return };
        if let Some(worker) = workers.iter().find(|worker| worker.reader == ticket.reader) {
            worker.ask(Command::Hear(ticket, may_stay));
        }
    }
}

/// The one answer that makes an `EventSource` stop (WHATWG HTML 9.2.3).
pub fn no_content() -> Response<Body> {
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
