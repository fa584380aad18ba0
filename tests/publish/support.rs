//! The plumbing: an API behind a real socket in this process, and publishers that write bytes to it.

use std::future::Future;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outboard::api::Api;
use outboard::broker::{self, Broker, Limits};
use outboard::channel::Channel;
use outboard::drain::{Drain, Draining, drain};
use outboard::event::Event;
use outboard::gateway::Desk;
use outboard::metrics::Metrics;
use outboard::proxy::{self, Backend};
use outboard::publish::{self, Settings};
use outboard::subscribe::{self, Streams};
use tokio::task::JoinHandle;

/// How long a fact may take to come true. No test that passes waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A publish socket that is being served.
pub(crate) struct Served {
    pub(crate) path: PathBuf,
    pub(crate) api: Arc<Api>,
    pub(crate) draining: Draining,
    drain: Drain,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// With room for what these tests publish.
pub(crate) fn roomy() -> broker::Settings {
    let limits = Limits { max_events: 1_000_000, max_bytes: 256 << 20, ..broker::Settings::default().limits };
    broker::Settings { limits, ..broker::Settings::default() }
}

pub(crate) fn serve() -> Served {
    serve_with(roomy(), |_| {})
}

pub(crate) fn serve_with(log: broker::Settings, change: impl FnOnce(&mut Settings)) -> Served {
    serve_before(log, change, "http://127.0.0.1:1")
}

/// Serves a socket in front of a backend, on which only readiness depends.
pub(crate) fn serve_before(
    log: broker::Settings,
    change: impl FnOnce(&mut Settings),
    backend: &str,
) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { socket: folder.path().join("publish.sock"), ..Settings::default() };
    change(&mut settings);
    let bound = publish::socket::bind(&settings).unwrap();
    let path = bound.path().to_owned();

    let broker = Broker::new(log);
    let metrics = Arc::new(Metrics::default());
    let (drain, draining) = drain();
    let authority: http::uri::Authority = backend.strip_prefix("http://").unwrap().parse().unwrap();
    let address = proxy::Address::Tcp { host: authority.host().into(), port: authority.port_u16().unwrap() };
    let backend = Backend::new(proxy::Settings::of(address));
    let backend = Arc::new(arc_swap::ArcSwap::from_pointee(backend));
    let desk = Arc::new(Desk::new(Arc::clone(&backend), draining.clone()));
    let defaults = subscribe::Settings::default();
    let streams = Streams::start(Arc::clone(&broker), desk, defaults, Arc::clone(&metrics), 1).unwrap();
    let api = Arc::new(Api { broker, streams, backend, metrics, max_event_size: settings.max_event_size });
    let served = publish::serve(bound, Arc::clone(&api), draining.clone());
    let task = tokio::spawn(async move { served.await.unwrap() });
    Served { path, api, draining, drain, task, _folder: folder }
}

impl Served {
    /// A publisher that blocks, as those in shell scripts do.
    pub(crate) fn connect(&self) -> Publisher {
        Publisher::connect(&self.path)
    }

    /// Writes `bytes`, ends its side, and returns what is replied until the end.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let (path, bytes) = (self.path.clone(), bytes.as_ref().to_vec());
        blocking(move || {
            let mut publisher = Publisher::connect(&path);
            // Refused before it was all written: then there is a reply to read.
            let _ = publisher.0.write_all(&bytes);
            publisher.end();
            publisher.rest()
        })
        .await
    }

    /// The events of a channel, in order.
    pub(crate) fn events(&self, channel: &str) -> Vec<Event> {
        let channel = Channel::parse(channel).unwrap();
        let kept = self.api.broker.history(&channel, None, usize::MAX).unwrap_or_default();
        kept.into_iter().map(|kept| kept.event).collect()
    }

    /// The data of these events.
    pub(crate) fn data(&self, channel: &str) -> Vec<String> {
        self.events(channel).iter().map(|event| event.data().unwrap_or("-").to_owned()).collect()
    }

    /// Drains, which is over when all that was sent has been dealt with.
    pub(crate) async fn drain(&mut self) {
        self.drain.start();
        tokio::time::timeout(DEADLINE, &mut self.task).await.expect("the drain has an end").unwrap();
    }
}

/// One connection to the socket.
pub(crate) struct Publisher(pub(crate) UnixStream);

impl Publisher {
    pub(crate) fn connect(path: &PathBuf) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn end(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The next reply.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\n") && self.0.read(&mut byte).unwrap() == 1 {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// All that comes until the other side ends.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("after {} bytes: {error}", rest.len()),
        }
        String::from_utf8(rest).unwrap()
    }
}

/// Runs what blocks beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
