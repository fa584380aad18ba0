//! Opening a connection to the backend.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_header::{ProxiedAddress, ProxyHeader};
use smallvec::SmallVec;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::Settings;
use super::address::Address;
use super::fault::Fault;
use super::link::Link;
use super::owner::Owner;
use crate::socket::Socket;

/// Opens a connection: to the first of the backend's addresses that takes one, and in all within the
/// limit for that. If the backend wants clients to be introduced, it is that of `owner`, or else ours.
pub(super) async fn connect(
    settings: &Settings,
    name: &str,
    owner: Option<&Owner>,
) -> Result<Box<Link>, Fault> {
    let Settings { address, connect_timeout: limit, proxy_protocol, .. } = settings;
    let open = async {
        let mut socket = open(address, name, *limit).await?;
        if let Some(version) = proxy_protocol {
            let introduction = version.introduction(owner);
            let sent = socket.write_all(&introduction).await;
            sent.map_err(|cause| Fault::Closed { backend: name.into(), cause: cause.to_string() })?;
        }
        Ok(socket)
    };
    let opened = tokio::time::timeout(*limit, open).await;
    let mut link = Link::over(opened.unwrap_or_else(|_| Err(late(name, *limit)))?);
    link.owner = owner.copied().filter(|_| proxy_protocol.is_some());
    Ok(link)
}

/// The version of the PROXY protocol in which clients are introduced to the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// In words.
    V1,
    /// In bytes.
    V2,
}

impl ProxyProtocol {
    /// Says who the client is; whoever has no address is nobody in particular.
    fn introduction(self, owner: Option<&Owner>) -> Vec<u8> {
        let ends = owner.and_then(Owner::ends);
        let header = match ends {
            None => ProxyHeader::with_local(),
            Some((client, local)) => {
                let (client, local) = of_one_family(client, local);
                ProxyHeader::with_address(ProxiedAddress::stream(client, local))
            }
        };
        let mut bytes = Vec::new();
        // Neither can fail: both ends are of one family, and there is nothing besides them.
        let encoded = match self {
            Self::V1 => header.encode_v1(&mut bytes),
            Self::V2 => header.encode_v2(&mut bytes),
        };
        debug_assert!(encoded.is_ok());
        bytes
    }
}

/// Both as IPv6 addresses, unless they are of one family already.
fn of_one_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    if client.is_ipv4() == local.is_ipv4() {
        return (client, local);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(client), mapped(local))
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
