//! Opening a connection to the backend.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::address::Address;
use super::fault::{Fault, causes};
use super::link::Link;
use super::stream::Socket;

/// Opens a connection: to the first of the backend's addresses that takes one, and in all within
/// `limit`.
pub(super) async fn connect(address: &Address, name: &str, limit: Duration) -> Result<Box<Link>, Fault> {
    let opened = tokio::time::timeout(limit, open(address, name)).await;
    let socket = opened.map_err(|_| Fault::ConnectTimeout { backend: name.into(), limit })??;
    let link = Link::over(socket).await;
    link.map_err(|error| Fault::Closed { backend: name.into(), cause: causes(&error) })
}

async fn open(address: &Address, name: &str) -> Result<Socket, Fault> {
    let unreachable = |cause| Fault::Unreachable { backend: name.into(), cause };
    match address {
        Address::Tcp { host, port } => open_tcp(host, *port, name).await.map(Socket::Tcp),
        Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix).map_err(unreachable),
    }
}

async fn open_tcp(host: &str, port: u16, name: &str) -> Result<TcpStream, Fault> {
    // Addresses are read as such; only names go to the resolver, which has threads of its own.
    let addresses = lookup_host((host, port)).await;
    let addresses = addresses.map_err(|cause| Fault::Unresolved { backend: name.into(), cause })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Each write is a whole piece already; nothing is won by holding it back.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(cause) => last = cause,
        }
    }
    Err(Fault::Unreachable { backend: name.into(), cause: last })
}
