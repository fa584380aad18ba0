//! Accepting connections, over TCP or a Unix socket, never more than allowed, never spinning when the system is out of
//! file handles.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{self, End, Handled, Options, TakesOver};
use super::introduction::Introductions;
use super::request::Request;
use super::unix;
use crate::drain::Draining;
use crate::peer::{Endpoint, Peer};
use crate::socket::Socket;

/// Where clients come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entrance {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, for those on this machine.
    Unix(unix::Place),
}

impl Entrance {
    /// The address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(place) => write!(f, "unix:{}", place.path.display()),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{hint}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    cause: io::Error,
    hint: String,
}

impl BindError {
    /// Whether it is only that somebody else has it now.
    pub fn is_in_use(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// A bound address or socket.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    end: Endpoint,
    /// How operators know it.
    pub name: String,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _claim: unix::Claim },
}

/// Binds `address` for listening, with room for bursts of 4,096 connections. `key` is how another port is
/// chosen, as in `--listen`.
///
/// # Errors
/// When the system does not allow it; says what to do about the usual reasons.
pub fn bind(address: SocketAddr, key: &str) -> Result<Listener, BindError> {
    let bound = || {
        let socket = open(address)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Listener { socket: Bound::Tcp(listener), end: address.into(), name: address.to_string() })
    };
    bound().map_err(|cause| cannot_bind(address, cause, key))
}

/// Whether `address` could be bound now, without a runtime and for no longer than it takes to look.
///
/// # Errors
/// As [`bind`].
pub fn try_bind(address: SocketAddr, key: &str) -> Result<(), BindError> {
    open(address).map(drop).map_err(|cause| cannot_bind(address, cause, key))
}

fn open(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

fn cannot_bind(address: SocketAddr, cause: io::Error, key: &str) -> BindError {
    let hint = match cause.kind() {
        io::ErrorKind::AddrInUse => {
            format!(": another program listens there; stop it or choose another port with {key}")
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose one above".into()
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address".into(),
        _ => String::new(),
    };
    BindError { address, cause, hint }
}

/// Makes the socket for clients on this machine, and listens on it. To be called in a tokio runtime.
///
/// # Errors
/// When the path cannot be ours.
pub fn bind_unix(place: &unix::Place) -> Result<Listener, unix::BindError> {
    let unix::Bound { listener, claim } = unix::bind(place)?;
    let listener = UnixListener::from_std(listener).map_err(|cause| unix::BindError {
        fault: unix::Fault::System { step: "serve", path: place.path.clone(), cause },
        purpose: place.purpose,
    })?;
    let name = format!("unix:{}", place.path.display());
    Ok(Listener { socket: Bound::Unix { listener, _claim: claim }, end: Endpoint::Unix, name })
}

/// How the connections of a listener are served.
#[derive(Clone)]
pub struct Service {
    /// How each of them is.
    pub options: Options,
    /// Each holds a permit until it ends or is taken over.
    pub connections: Arc<Semaphore>,
    /// Who has to introduce clients; without it they come by themselves.
    pub introductions: Option<Arc<Introductions>>,
}

impl Listener {
    /// Its address, with the port the system chose if none was given; a Unix socket has none.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self.end {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix => None,
        }
    }

    /// Serves each connection in a task of its own until the drain begins. Those at work then
    /// finish by themselves. `left` is told of each that was not taken over when it has ended.
    pub async fn serve<S, F, T, L>(self, service: Service, draining: Draining, answer: S, left: L)
    where
        S: Fn(Request, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = Handled<T>> + Send + 'static,
        T: TakesOver + Send + 'static,
        L: Fn(Peer) + Clone + Send + 'static,
    {
        let heard = draining.clone();
        let accepting = async {
            let Service { options, connections, introductions } = service;
            let mut room = Room::new(connections);
            while let Some((socket, peer, permit)) = self.accept(&mut room).await {
                let (heard, answer, left) = (heard.clone(), answer.clone(), left.clone());
                match &introductions {
                    None => tokio::spawn(async move {
                        serve_one(socket, peer, Bytes::new(), options, heard, answer, left).await;
                        drop(permit);
                    }),
                    Some(introductions) => {
                        let introductions = Arc::clone(introductions);
                        tokio::spawn(async move {
                            let mut socket = socket;
                            let limit = options.header_timeout;
                            let introduced = tokio::select! {
                                introduced = introductions.hear(&mut socket, peer, limit) => introduced,
                                () = heard.begun() => None,
                            };
                            if let Some((peer, read_ahead)) = introduced {
                                serve_one(socket, peer, read_ahead, options, heard, answer, left).await;
                            }
                            drop(permit);
                        })
                    }
                };
                // The new connection goes first: in a storm of them, each else waits with its
                // buffers for all to be accepted, and memory once taken hardly goes back.
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = draining.begun() => {}
            () = accepting => {}
        }
    }

    /// The next connection, with who is at its other end and its place in the room; `None` once there
    /// will be no room any more.
    async fn accept(&self, room: &mut Room) -> Option<(Socket, Peer, OwnedSemaphorePermit)> {
        loop {
            let permit = room.enter(&self.name).await?;
            let accepted = match &self.socket {
                Bound::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                    let local = stream.local_addr().map_or(self.end, Into::into);
                    set_up(&stream);
                    (Socket::Tcp(stream), Peer::plain(address.into(), local))
                }),
                Bound::Unix { listener, .. } => listener
                    .accept()
                    .await
                    .map(|(stream, _)| (Socket::Unix(stream), Peer::plain(Endpoint::Unix, Endpoint::Unix))),
            };
            match accepted {
                Ok((socket, peer)) => return Some((socket, peer, permit)),
                Err(error) => pause_after(&error, &self.name).await,
            }
        }
    }
}

async fn serve_one<S, F, T>(
    socket: Socket,
    peer: Peer,
    read_ahead: Bytes,
    options: Options,
    draining: Draining,
    answer: S,
    left: impl Fn(Peer),
) where
    S: Fn(Request, Peer) -> F,
    F: Future<Output = Handled<T>>,
    T: TakesOver,
{
    let answer = move |request| answer(request, peer);
    if connection::serve(socket, read_ahead, options, draining, answer).await == End::Closed {
        left(peer);
    }
}

/// Sets what a client's socket needs. One on which it cannot be set has lost its client.
fn set_up(stream: &TcpStream) {
    // Answers are written whole: waiting for more to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let probes =
        socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&probes);
}

/// After how much silence the system asks a peer whether it is still there. One that has vanished is noticed within
/// a minute.
const PROBE_AFTER: Duration = Duration::from_secs(25);
/// How often it asks then.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How often it asks in vain before it gives up.
const PROBES: u32 = 3;

/// Room for so many connections at a time.
///
/// Waiting for it before accepting leaves the rest in the kernel's queue. Whoever waits there sees
/// nothing but silence, so the operator is told, at most once a minute.
#[derive(Debug)]
pub struct Room {
    free: Arc<Semaphore>,
    told: Option<Instant>,
}

impl Room {
    /// Room as `free` has it, which others may share.
    pub fn new(free: Arc<Semaphore>) -> Self {
        Self { free, told: None }
    }

    /// Waits for room for one more on `listener`; `None` once there will be none any more.
    pub async fn enter(&mut self, listener: impl std::fmt::Display) -> Option<OwnedSemaphorePermit> {
        const PAUSE: Duration = Duration::from_secs(60);
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        if self.told.is_none_or(|told| told.elapsed() >= PAUSE) {
            self.told = Some(Instant::now());
            tracing::warn!(
                %listener,
                "as many connections as allowed are open; the next wait until one of them ends, \
                 or until `max_publishers` (of the socket) or `max_connections` is raised"
            );
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// Waits as long as is good after an error of `accept`, and tells the operator if that is for more than
/// one connection: it is a shortage then, which trying again at once would only make worse.
pub async fn pause_after(error: &io::Error, listener: impl std::fmt::Display) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    tracing::error!(%listener, %error, "cannot accept connections for the moment; more file handles may help (ulimit -n)");
    tokio::time::sleep(Duration::from_millis(200)).await;
}
