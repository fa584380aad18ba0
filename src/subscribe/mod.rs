//! A client's stream: from the decision to hold a client until it leaves.
//!
//! [`Streams::open`] decides, and counts the client as a subscriber from that moment. Its socket is
//! then taken from hyper and kept by one of the fan-out threads, with a few hundred bytes and no
//! task. What it gets is what a cursor in the log reads, so nothing here queues events.

mod clock;
mod deliver;
mod end;
mod groups;
mod handle;
pub mod head;
mod initial;
mod last_event_id;
mod pace;
mod piece;
mod slab;
mod subscriber;
mod waiting;
mod wheel;
mod worker;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::sync::watch;

pub use self::end::End;
use self::handle::{Command, Handle, Ticket};
pub use self::last_event_id::{PARAMETERS as LAST_EVENT_ID_PARAMETERS, last_event_id};
use self::pace::Pace;
use self::subscriber::{Extras, Held, Subscriber};
use self::wheel::Tick;
use self::worker::Worker;
use crate::body::Body;
use crate::broker::{Broker, Gap, Since, Subscribed, Subscription, Waiting};
use crate::channel::Channel;
use crate::listen::Socket;
use crate::listen::connection::{Answer, Takeover};
use crate::metrics::Metrics;
use crate::replay::Replay;
use crate::subject::Subject;

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

/// What a client is to get.
#[derive(Debug)]
pub struct Ask {
    /// Which channels; at least one.
    pub channels: Vec<Channel>,
    /// Where the client was.
    pub last_event_id: Option<String>,
    /// What it gets first if it does not say.
    pub replay: Replay,
    /// What it was accepted as.
    pub subject: Option<Subject>,
    /// Its own keep-alive.
    pub keep_alive: Option<Duration>,
    /// Its own reconnect hint.
    pub retry: Option<Duration>,
    /// HTTP/1.0 clients get a stream that ends with the connection.
    pub version: Version,
    /// More headers for the response, from a backend.
    pub headers: HeaderMap,
    /// An event stream's text that goes first, from a backend.
    pub initial: Option<Initial>,
    /// The question whether the client may still listen.
    pub recheck: Option<Recheck>,
    /// Who wants to hear that the client is gone.
    pub on_end: Option<OnEnd>,
}

impl Ask {
    /// The plainest: these channels, by the defaults.
    pub fn new(channels: Vec<Channel>, version: Version) -> Self {
        Self {
            channels,
            last_event_id: None,
            replay: Replay::default(),
            subject: None,
            keep_alive: None,
            retry: None,
            version,
            headers: HeaderMap::new(),
            initial: None,
            recheck: None,
            on_end: None,
        }
    }
}

/// The body of the answer that handed a client over.
pub struct Initial(pub Body);

impl std::fmt::Debug for Initial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Initial")
    }
}

/// The answer to the question whether a client may still listen.
pub type MayStay = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A question to be asked again and again; `false` ends the stream.
pub struct Recheck {
    /// How often.
    pub every: Duration,
    /// The question.
    pub ask: Box<dyn Fn() -> MayStay + Send + Sync>,
}

impl std::fmt::Debug for Recheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recheck every {:?}", self.every)
    }
}

/// Is told once that a client is gone, and why, even if it left before it was held; must not block.
pub struct OnEnd(Option<Box<dyn FnOnce(End) + Send + Sync>>);

impl OnEnd {
    /// Calls `tell` when the time has come.
    pub fn new(tell: impl FnOnce(End) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub(crate) fn tell(mut self, end: End) {
        if let Some(tell) = self.0.take() {
            tell(end);
        }
    }
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(End::ClientLeft);
        }
    }
}

impl std::fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnEnd")
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
    seats: Arc<AtomicUsize>,
    /// Whether it is time for those to end who are with no thread yet.
    leaving: watch::Sender<bool>,
}

/// Where a client begins.
enum Place {
    /// In the log; also what it is told that has a gap.
    InLog(Subscription, Option<Gap>),
    /// There is no log yet.
    Ahead(Waiting),
}

/// A client on its way into the log.
struct Newcomer {
    framed: bool,
    keep_alive: Duration,
    recheck: Option<Recheck>,
    on_end: Option<OnEnd>,
    seat: Seat,
}

impl Newcomer {
    fn subscriber(self, socket: Held, subscription: Subscription, opening: Bytes) -> Box<Subscriber> {
        let Self { framed, keep_alive, recheck, on_end, seat } = self;
        let extras = Extras {
            recheck: recheck.map(|recheck| (recheck, Tick::NEVER)),
            on_end,
            ends_at: None,
            pace: Pace::of(&subscription.selection),
        };
        Box::new(Subscriber::new(socket, subscription, framed, opening, keep_alive, extras, seat))
    }
}

/// A place among the clients; free again when dropped.
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

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
        let (revoke, mut revoked) = tokio::sync::mpsc::unbounded_channel::<Ticket>();
        let runtime = tokio::runtime::Handle::current();
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let (runtime, revoke) = (runtime.clone(), revoke.clone());
            let recheck = move |recheck: &Recheck, ticket| {
                let (may_stay, revoke) = ((recheck.ask)(), revoke.clone());
                runtime.spawn(async move {
                    if !may_stay.await {
                        let _ = revoke.send(ticket);
                    }
                });
            };
            let (worker, handle) =
                Worker::new(Arc::clone(&broker), settings, Arc::clone(&metrics), Box::new(recheck))?;
            std::thread::Builder::new().name(format!("fan-out-{number}")).spawn(move || worker.run())?;
            workers.push(handle);
        }
        let workers: Arc<[Handle]> = workers.into();
        // Weak: the threads end with the last of those who can ask them for something.
        let all = Arc::downgrade(&workers);
        runtime.spawn(async move {
            while let Some(ticket) = revoked.recv().await {
                let Some(all) = all.upgrade() else { return };
                if let Some(worker) = all.iter().find(|worker| worker.reader == ticket.reader) {
                    worker.ask(Command::End(ticket, End::Revoked));
                }
            }
        });
        let (turn, seats) = (AtomicUsize::new(0), Arc::default());
        let leaving = watch::Sender::new(false);
        Ok(Self(Arc::new(Inner { broker, settings, metrics, workers, turn, seats, leaving })))
    }

    /// How many clients are held.
    pub fn count(&self) -> usize {
        self.0.seats.load(Ordering::Relaxed)
    }

    /// Ends all streams, so that their clients come back, to whoever answers then.
    pub fn drain(&self) {
        self.0.leaving.send_replace(true);
        self.0.workers.iter().for_each(|worker| worker.ask(Command::Drain));
    }

    /// The answer for a client that cannot be served just now, but soon.
    pub fn come_back(&self) -> Response<Body> {
        head::come_back(self.0.settings.retry)
    }

    /// Decides how `ask` is answered, and counts the client as a subscriber from now on: with a
    /// takeover that becomes its stream (a silent one, as long as there is no log); with `204` when all its
    /// channels are closed and it has seen all of them; or, when there is no room, with a `200` that asks
    /// it to come back.
    pub fn open(&self, ask: Ask) -> Answer {
        let inner = &self.0;
        let Some(seat) = self.take_seat() else {
            tracing::warn!(
                max_subscribers = inner.settings.max_subscribers,
                "no room for another stream; the client is asked to come back"
            );
            return Answer::Response(self.come_back());
        };
        let turn = inner.turn.fetch_add(1, Ordering::Relaxed) % inner.workers.len();
        let since = Since { last_event_id: ask.last_event_id.as_deref(), replay: ask.replay };
        let (subject, reader) = (ask.subject.as_ref(), inner.workers[turn].reader);
        let place = match inner.broker.wait_for_log(&ask.channels, since, subject, reader) {
            Some(waiting) => Place::Ahead(waiting),
            None => match inner.broker.subscribe(&ask.channels, since, subject, reader) {
                Ok(Subscribed::Open(subscription, gap)) => Place::InLog(subscription, gap),
                Ok(Subscribed::Over) => {
                    if let Some(on_end) = ask.on_end {
                        on_end.tell(End::Closed);
                    }
                    return Answer::Response(no_content());
                }
                Err(refused) => {
                    tracing::warn!(%refused, "a stream cannot be opened; the client is asked to come back");
                    return Answer::Response(self.come_back());
                }
            },
        };
        inner.metrics.subscribed.add_one();

        let retry = ask.retry.unwrap_or_else(|| head::jittered(inner.settings.retry));
        let gap = if let Place::InLog(_, gap) = &place { gap.as_ref() } else { None };
        let opening = head::opening(ask.version, &ask.headers, retry, gap);
        let newcomer = Newcomer {
            framed: head::has_chunks(ask.version),
            keep_alive: ask.keep_alive.unwrap_or(inner.settings.keep_alive),
            recheck: ask.recheck,
            on_end: ask.on_end,
            seat,
        };
        let initial = ask.initial.filter(|initial| !initial.0.is_end_stream());
        match place {
            Place::InLog(subscription, _) => self.take_over(subscription, turn, newcomer, opening, initial),
            Place::Ahead(waiting) => self.hold_back(waiting, turn, newcomer, opening, initial),
        }
    }

    fn take_over(
        &self,
        subscription: Subscription,
        turn: usize,
        newcomer: Newcomer,
        opening: Bytes,
        initial: Option<Initial>,
    ) -> Answer {
        let streams = self.clone();
        Answer::Takeover(Takeover(Box::new(move |socket, _read_ahead| match initial {
            None => streams.adopt(turn, socket, |held| newcomer.subscriber(held, subscription, opening)),
            Some(Initial(body)) => {
                let stall = streams.0.settings.stall;
                let (framed, keep_alive) = (newcomer.framed, newcomer.keep_alive);
                tokio::spawn(async move {
                    let mut socket = socket;
                    match initial::write(&mut socket, &opening, body, framed, stall, keep_alive).await {
                        Ok(()) => streams.adopt(turn, socket, |held| {
                            newcomer.subscriber(held, subscription, Bytes::new())
                        }),
                        Err(error) => tracing::debug!(%error, "the client left during its initial events"),
                    }
                });
            }
        })))
    }

    fn take_seat(&self) -> Option<Seat> {
        let most = self.0.settings.max_subscribers;
        let free = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.seats.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Seat(Arc::clone(&self.0.seats)))
    }

    fn adopt(&self, turn: usize, socket: Socket, subscriber: impl FnOnce(Held) -> Box<Subscriber>) {
        match hold(socket, &self.0.settings) {
            Ok(held) => self.0.workers[turn].ask(Command::Adopt(subscriber(held))),
            Err(error) => tracing::warn!(%error, "cannot hold a client's socket"),
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
