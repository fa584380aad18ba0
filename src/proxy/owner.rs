//! Whose a link to the backend is, if it is somebody's alone.

use std::net::{IpAddr, SocketAddr};

use crate::peer::{Connection, Endpoint, Peer};

/// Whose a link is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Owner {
    /// The connection that it came over.
    pub(super) connection: Connection,
    /// Who asks. A proxy in front may send what several clients ask for over one connection.
    ip: Option<IpAddr>,
    peer: Endpoint,
    local: Endpoint,
}

impl Owner {
    /// The client with this address, as it is connected to us.
    pub(super) fn new(peer: &Peer, ip: Option<IpAddr>) -> Self {
        Self { connection: peer.connection, ip, peer: peer.address, local: peer.local }
    }

    /// Both ends of the client's connection, for an introduction. The port of a client for which a proxy in
    /// front speaks is not known.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let ip = self.ip?;
        let client = match self.peer {
            Endpoint::Tcp(peer) if peer.ip().to_canonical() == ip => SocketAddr::new(ip, peer.port()),
            _ => SocketAddr::new(ip, 0),
        };
        let Endpoint::Tcp(local) = self.local else { return None };
        Some((client, SocketAddr::new(local.ip().to_canonical(), local.port())))
    }
}
