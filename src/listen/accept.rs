//! Accepting TCP connections, never more than allowed, never spinning when the system is out of
//! file handles.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{self, Handled, Options, TakesOver};
use super::request::Request;
use crate::drain::Draining;
use crate::peer::Peer;
use crate::socket::Socket;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{hint}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    cause: io::Error,
    hint: &'static str,
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    /// The address, with the port the system chose if none was given.
    pub address: SocketAddr,
}

/// Binds `address` for listening, with room for bursts of 4,096 connections.
///
/// # Errors
/// When the system does not allow it; says what to do about the usual reasons.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let bound = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM.nonblocking(),
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Listener { listener, address })
    };
    bound().map_err(|cause: io::Error| {
        let hint = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                ": another program listens there; stop it or choose another port with --listen"
            }
            io::ErrorKind::PermissionDenied => {
                ": ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose one above"
            }
            io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
            _ => "",
        };
        BindError { address, cause, hint }
    })
}

impl Listener {
    /// Serves each connection in a task of its own until the drain begins. Those at work then
    /// finish by themselves; each holds a permit of `connections` until it ends or is taken over.
    pub async fn serve<S, F, T>(
        self,
        connections: Arc<Semaphore>,
        options: Options,
        draining: Draining,
        answer: S,
    ) where
        S: Fn(Request, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = Handled<T>> + Send + 'static,
        T: TakesOver + Send + 'static,
    {
        let heard = draining.clone();
        let accepting = async {
            let mut room = Room::new(connections);
            while let Some((stream, peer, permit)) = self.accept(&mut room).await {
                let (heard, answer) = (heard.clone(), answer.clone());
                tokio::spawn(async move {
                    let answer = move |request| answer(request, peer);
                    connection::serve(Socket::Tcp(stream), Bytes::new(), options, heard, answer).await;
                    drop(permit);
                });
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
    async fn accept(&self, room: &mut Room) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
        loop {
            let permit = room.enter(self.address).await?;
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let local = stream.local_addr().unwrap_or(self.address);
                    set_up(&stream);
                    return Some((stream, Peer::plain(address.into(), local.into()), permit));
                }
                Err(error) => pause_after(&error, self.address).await,
            }
        }
    }
}

/// Sets what a client's socket needs. One on which it cannot be set has lost its client.
fn set_up(stream: &TcpStream) {
    // Answers are written whole: waiting for more to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let probes = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&probes);
}

/// After how much silence the system asks a peer whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How often it asks then; Linux gives up after nine probes (tcp(7), `tcp_keepalive_probes`).
const PROBE_EVERY: Duration = Duration::from_secs(10);

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
