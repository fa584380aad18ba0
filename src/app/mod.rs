//! Build, run, drain.
//!
//! [`start`] binds everything before it serves anything, so that a mistake is told while nobody
//! depends on us yet. [`run`] is what the binary does: it starts, waits for a signal, and drains.

mod rehearsal;
mod reload;
mod signals;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::broker::{self, Broker};
use crate::config::Config;
use crate::drain::{Drain, Draining, drain};
use crate::gateway::{Backoff, Desk, Gateway};
use crate::listen::{self, Entrance, Introductions, Listener, Service, connection};
use crate::metrics::Metrics;
use crate::peer::Trusted;
use crate::proxy::Backend;
use crate::subscribe::Streams;
use crate::{admin, publish, vital};
pub use rehearsal::rehearse;
use signals::{Order, Signals};

/// How long requests under way may take to finish once the drain has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long the streams may take to end after that.
const STREAMS_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take after that to tell the backend of all who are gone.
const NOTICES_LIMIT: Duration = Duration::from_secs(10);

/// Why outboard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A public address.
    #[error(transparent)]
    Listen(#[from] listen::BindError),
    /// The publish socket, or one for clients.
    #[error(transparent)]
    Unix(#[from] publish::socket::BindError),
    /// The admin address.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// The log on disk.
    #[error(transparent)]
    Log(#[from] broker::OpenError),
    /// Threads or file handles.
    #[error("the system gives no more threads or file handles: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether it is only that somebody else has it now.
    pub fn is_in_use(&self) -> bool {
        match self {
            Self::Listen(error) | Self::Admin(admin::BindError::Listen(error)) => error.is_in_use(),
            Self::Unix(error) => error.is_in_use(),
            Self::Log(error) => matches!(error, broker::OpenError::InUse(_)),
            Self::Admin(_) | Self::System(_) => false,
        }
    }

    /// Whether an outboard has the publish socket.
    pub fn is_of_another_outboard(&self) -> bool {
        matches!(self, Self::Unix(error) if matches!(error.fault, listen::unix::Fault::Locked(..)))
    }
}

/// A running outboard. Dropping it begins the drain; the streams then go on until the process ends.
pub struct Running {
    /// Where clients connect, with the ports that the system chose.
    pub addresses: Vec<SocketAddr>,
    /// The same, and the Unix sockets for clients, as operators know them.
    pub entrances: Vec<String>,
    /// Where operators connect.
    pub admin: Option<SocketAddr>,
    /// Where publishers connect.
    pub socket: PathBuf,
    /// What it was started with, or took on since.
    config: Config,
    drain: Drain,
    shared: Shared,
    gateway: Arc<ArcSwap<Gateway>>,
    public: Vec<JoinHandle<()>>,
    publishing: JoinHandle<()>,
    /// All of them are free when there is no public connection any more, but for those that are held.
    connections: Arc<Semaphore>,
    clock: JoinHandle<()>,
}

/// Binds and starts everything. To be called in a tokio runtime.
///
/// # Errors
/// When something cannot be bound; nothing is left running then.
pub fn start(config: &Config) -> Result<Running, StartError> {
    let Bound { public, admin, socket } = Bound::new(config)?;
    let (drain, draining) = drain();
    let shared = Shared::new(config, draining.clone())?;
    let gateway = Arc::new(ArcSwap::from_pointee(shared.gateway(config)));

    let addresses = public.iter().filter_map(Listener::tcp).collect();
    let entrances = public.iter().map(|listener| listener.name.clone()).collect();
    let (path, admin_address) = (socket.path().to_path_buf(), admin.as_ref().map(admin::Bound::address));
    let api = Arc::new(shared.api(config));
    if let Some(admin) = admin {
        let serving = admin::serve(admin, Arc::clone(&api), draining.clone());
        tokio::spawn(vital::task("the admin listener", serving));
    }
    let publishing =
        tokio::spawn(vital::task("the publish socket", take_events(socket, api, draining.clone())));
    let connections = Arc::new(Semaphore::new(config.limits.max_connections));
    let options = connection::Options {
        header_timeout: config.limits.header_timeout,
        idle_timeout: config.limits.idle_timeout,
        write_timeout: config.limits.write_timeout,
        ..connection::Options::default()
    };
    let introductions =
        config.proxy_protocol.then(|| Arc::new(Introductions::by(Arc::clone(&shared.trusted))));
    let service = Service { options, connections: Arc::clone(&connections), introductions };
    let current = Arc::clone(&gateway);
    let answer = move |request, peer| current.load_full().answer(request, peer);
    let backend = Arc::clone(&shared.backend);
    let left = move |peer| backend.load().forget(&peer);
    let serve = |listener: Listener| {
        let serving = listener.serve(service.clone(), draining.clone(), answer.clone(), left.clone());
        tokio::spawn(vital::task("a listener", serving))
    };
    let public = public.into_iter().map(serve).collect();
    let clock = tokio::spawn(vital::task("the clock", tick(Arc::clone(&shared.broker))));

    Ok(Running {
        addresses,
        entrances,
        admin: admin_address,
        socket: path,
        config: config.clone(),
        drain,
        shared,
        gateway,
        public,
        publishing,
        connections,
        clock,
    })
}

/// How many files may be open at a time, of each kind that can make many.
#[derive(Clone, Copy, Debug)]
pub struct MostFiles {
    /// Connections on which requests come in.
    pub connections: usize,
    /// Streams that are held.
    pub streams: usize,
    /// The clients' ends of tunnels.
    pub tunnels: usize,
    /// Connections to the backend.
    pub backend: usize,
    /// Publishers.
    pub publishers: usize,
    /// Operators.
    pub operators: usize,
}

impl MostFiles {
    /// What is open besides: listeners, the store, the log, one of each thread's.
    const OTHERS: usize = 64;

    /// With this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            connections: config.limits.max_connections,
            streams: config.stream.max_subscribers,
            tunnels: config.backend.max_streams,
            backend: config.backend.all_connections(),
            publishers: config.publish.max_publishers,
            operators: config.admin.as_ref().map_or(0, |_| admin::MOST_CONNECTIONS),
        }
    }

    /// All of them together.
    pub fn sum(self) -> usize {
        let Self { connections, streams, tunnels, backend, publishers, operators } = self;
        [connections, streams, tunnels, backend, publishers, operators, Self::OTHERS]
            .into_iter()
            .fold(0, usize::saturating_add)
    }
}

/// What is bound before anything is served.
struct Bound {
    public: Vec<Listener>,
    admin: Option<admin::Bound>,
    socket: publish::socket::Bound,
}

impl Bound {
    fn new(config: &Config) -> Result<Self, StartError> {
        let public = config.listen.iter().map(entrance).collect::<Result<_, _>>()?;
        let admin = config.admin.as_ref().map(admin::bind).transpose()?;
        let socket = publish::socket::bind(&config.publish)?;
        Ok(Self { public, admin, socket })
    }
}

fn entrance(entrance: &Entrance) -> Result<Listener, StartError> {
    Ok(match entrance {
        Entrance::Tcp(address) => listen::bind(*address, "--listen")?,
        Entrance::Unix(place) => listen::bind_unix(place)?,
    })
}

/// What all who serve share, whatever the configuration becomes.
struct Shared {
    broker: Arc<Broker>,
    streams: Streams,
    /// What is said to the site about the clients that they hold.
    desk: Arc<Desk>,
    backend: Arc<ArcSwap<Backend>>,
    /// Who may introduce clients, as the configuration says now.
    trusted: Arc<ArcSwap<Trusted>>,
    failing: Arc<Backoff>,
    metrics: Arc<Metrics>,
    draining: Draining,
}

impl Shared {
    fn new(config: &Config, draining: Draining) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::default());
        let broker = Broker::open(&config.history)?;
        let threads = available_parallelism().map_or(1, usize::from).min(broker::MOST_READERS);
        let backend = Arc::new(ArcSwap::from_pointee(Backend::new(config.backend.clone())));
        let desk = Arc::new(Desk::new(Arc::clone(&backend), draining.clone()));
        let streams = Streams::start(
            Arc::clone(&broker),
            Arc::clone(&desk) as _,
            config.stream,
            Arc::clone(&metrics),
            threads,
        )?;
        let trusted = Arc::new(ArcSwap::from_pointee(config.backend.rules.trusted.clone()));
        let failing = Arc::default();
        Ok(Self { broker, streams, desk, backend, trusted, failing, metrics, draining })
    }

    /// What clients are answered by, with the routes of `config`.
    fn gateway(&self, config: &Config) -> Gateway {
        Gateway {
            routes: config.routes.clone(),
            backend: self.backend.load_full(),
            streams: self.streams.clone(),
            failing: Arc::clone(&self.failing),
            metrics: Arc::clone(&self.metrics),
            draining: self.draining.clone(),
        }
    }

    /// What publishers and operators are answered by.
    fn api(&self, config: &Config) -> publish::Api {
        publish::Api {
            broker: Arc::clone(&self.broker),
            streams: self.streams.clone(),
            backend: Arc::clone(&self.backend),
            metrics: Arc::clone(&self.metrics),
            max_event_size: config.publish.max_event_size,
        }
    }
}

async fn take_events(socket: publish::socket::Bound, api: Arc<publish::Api>, draining: Draining) {
    if let Err(error) = publish::serve(socket, api, draining).await {
        tracing::error!(%error, "the publish socket cannot be served");
    }
}

/// Lets the log's time pass.
async fn tick(broker: Arc<Broker>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        broker.sweep();
    }
}

impl Running {
    /// Accepts nothing new, takes in what publishers have sent, lets requests under way finish, and
    /// ends the streams, whose clients come back by themselves to whoever listens then.
    pub async fn drain(self) {
        self.drain.start();
        self.shared.broker.stop_waiting();
        let quiet = async {
            let _ = self.publishing.await;
            for listener in self.public {
                let _ = listener.await;
            }
            // Streams do not count here: they are with nobody but the fan-out.
            let all = u32::try_from(self.config.limits.max_connections).unwrap_or(u32::MAX);
            let _ = self.connections.acquire_many(all).await;
        };
        if tokio::time::timeout(DRAIN_LIMIT, quiet).await.is_err() {
            tracing::warn!(limit = ?DRAIN_LIMIT, "some requests did not finish in time and are cut off");
        }
        let Shared { streams, broker, desk, .. } = self.shared;
        streams.drain();
        let gone = async {
            while streams.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(STREAMS_LIMIT, gone).await.is_err() {
            tracing::warn!(streams = streams.count(), "some streams did not end in time and are cut off");
        }
        let untold = desk.told(NOTICES_LIMIT).await;
        if untold > 0 {
            tracing::error!(clients = untold, "the backend could not be told that these clients are gone");
        }
        self.clock.abort();
        let _ = tokio::task::spawn_blocking(move || broker.close()).await;
    }
}

/// Tells what the site behind will see of clients: it may have rules for their addresses.
fn tell_what_the_site_sees(config: &Config) {
    let trusts = if config.backend.rules.trusted.is_nobody() { "nobody" } else { "trusted_proxies" };
    match config.backend.proxy_protocol {
        None => tracing::info!(
            trusts,
            "clients' addresses reach the site in X-Forwarded-For; to it, every connection comes from here: \
             rules for local addresses let everybody in. `outboard check` says what to write there"
        ),
        Some(_) => tracing::info!(trusts, "clients' addresses reach the site by the PROXY protocol"),
    }
}

/// Runs until TERM or INT, then drains; a second signal ends the drain at once. HUP has `reload` read
/// the configuration again.
///
/// # Errors
/// When it cannot start.
pub async fn run<E: Display>(
    config: Config,
    reload: impl Fn() -> Result<Config, E>,
) -> Result<(), StartError> {
    let mut signals = Signals::listen()?;
    let mut running = start(&config)?;
    for address in &running.entrances {
        tracing::info!(%address, backend = %config.backend.address, "listening");
    }
    tell_what_the_site_sees(&config);
    if let Some(address) = running.admin {
        tracing::info!(%address, "listening for operators");
    }
    tracing::info!(socket = %running.socket.display(), "taking events");

    let broker = Arc::clone(&running.shared.broker);
    let mut unusable = pin!(broker.unusable());
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            error = &mut unusable => {
                running.drain().await;
                return Err(error.into());
            }
        };
        if asked != Order::Reload {
            break;
        }
        match reload() {
            Ok(config) => running.reload(config),
            Err(report) => {
                tracing::error!("the configuration stays as it was, for the new one is wrong:\n{report}")
            }
        }
    }
    tracing::info!("draining; a second signal ends at once");
    tokio::select! {
        () = running.drain() => tracing::info!("drained"),
        () = signals.end() => tracing::warn!("ended by a second signal"),
    }
    Ok(())
}
