//! Opening a connection to the backend.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::address::Address;
use super::fault::Fault;
use super::link::Link;
use crate::socket::Socket;

/// Opens a connection: to the first of the backend's addresses that takes one, and in all within
/// `limit`.
pub(super) async fn connect(address: &Address, name: &str, limit: Duration) -> Result<Box<Link>, Fault> {
    let opened = tokio::time::timeout(limit, open(address, name, limit)).await;
    let socket = opened.unwrap_or_else(|_| Err(late(name, limit)))?;
    Ok(Link::over(socket))
}

async fn open(address: &Address, name: &str, limit: Duration) -> Result<Socket, Fault> {
    match address {
        Address::Tcp { host, port } => open_tcp(host, *port, name, limit).await.map(Socket::Tcp),
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            stream.map(Socket::Unix).map_err(|cause| Fault::Unreachable { backend: name.into(), cause })
        }
    }
}

async fn open_tcp(host: &str, port: u16, name: &str, limit: Duration) -> Result<TcpStream, Fault> {
    // Addresses are read as such; only names go to the resolver, which has threads of its own.
    let addresses = lookup_host((host, port)).await;
    let addresses = addresses.map_err(|cause| Fault::Unresolved { backend: name.into(), cause })?;
    let addresses: SmallVec<[SocketAddr; 4]> = addresses.collect();
    // An address behind which everything vanishes leaves time for the others.
    let share = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let cause = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut fault = Fault::Unreachable { backend: name.into(), cause };
    for address in addresses {
        fault = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Each write is a whole piece already; nothing is won by holding it back.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(cause)) => Fault::Unreachable { backend: name.into(), cause },
            Err(_) => late(name, limit),
        };
    }
    Err(fault)
}

fn late(name: &str, limit: Duration) -> Fault {
    Fault::ConnectTimeout { backend: name.into(), limit }
}
