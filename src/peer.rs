//! Who is at the other end of a client connection, and who may speak for others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::{IpNet, Ipv4Net};

/// What is known of a client before it has said anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: Endpoint,
    /// Our end of it.
    pub local: Endpoint,
    /// What the client spoke to get here.
    pub scheme: Scheme,
    /// Which connection it is.
    pub connection: Connection,
}

impl Peer {
    /// The peer of a plain connection between these two.
    pub fn plain(address: Endpoint, local: Endpoint) -> Self {
        Self { address, local, scheme: Scheme::Http, connection: Connection::new() }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// This machine, over a Unix socket.
    Unix,
}

impl Endpoint {
    /// Its address, an IPv4 one as such; a Unix socket has none.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// How a request is sent, as the first word of its URL says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// In plain text.
    Http,
    /// Within TLS.
    Https,
}

impl Scheme {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A connection of a client: no other has the same, as long as the process lives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Connection(u64);

impl Connection {
    /// One that did not exist before.
    #[expect(clippy::new_without_default, reason = "each is another one: there is no default")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whose word is taken for who the client is: proxies of the operator's own, and nobody by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trusted {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Trusted {
    /// Whether nobody is.
    pub fn is_nobody(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether whoever is at this end of a connection is among them.
    pub fn includes(&self, end: Endpoint) -> bool {
        match end.ip() {
            Some(ip) => self.includes_ip(ip),
            None => self.unix,
        }
    }

    /// Whether the owner of this address is among them.
    pub fn includes_ip(&self, ip: IpAddr) -> bool {
        // Without the first test each request would pay for what few have.
        !self.networks.is_empty() && self.networks.iter().any(|network| network.contains(&ip.to_canonical()))
    }

    /// Whether everybody on the internet is.
    pub fn is_everybody(&self) -> bool {
        self.networks.iter().any(|network| network.prefix_len() == 0)
    }
}

impl FromIterator<TrustedPeer> for Trusted {
    fn from_iter<I: IntoIterator<Item = TrustedPeer>>(peers: I) -> Self {
        let mut trusted = Self::default();
        for peer in peers {
            match peer {
                TrustedPeer::Network(network) => trusted.networks.push(network),
                TrustedPeer::Unix => trusted.unix = true,
            }
        }
        trusted
    }
}

/// One of those who are [`Trusted`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrustedPeer {
    /// Whoever has an address of this network.
    Network(IpNet),
    /// Whoever may connect to a Unix socket of ours.
    Unix,
}

/// What was written is neither a network, nor an address, nor `unix`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is neither an address, nor a network, nor \"unix\"")]
pub struct NoPeer;

impl FromStr for TrustedPeer {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip.to_canonical()),
            Err(_) => text.parse().map_err(|_| NoPeer)?,
        };
        Ok(Self::Network(canonical(network)))
    }
}

/// A network of IPv4 addresses that is written in IPv6 (RFC 4291 section 2.5.5.2), as what it is.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(v4, length)
    {
        return v4.into();
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(list: &[&str]) -> Trusted {
        list.iter().map(|text| text.parse::<TrustedPeer>().unwrap()).collect()
    }

    fn tcp(ip: &str) -> Endpoint {
        SocketAddr::new(ip.parse().unwrap(), 5000).into()
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
        for (list, ip, expected) in [
            (&["10.0.0.0/8"][..], "10.1.2.3", true),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            (&["::ffff:10.0.0.0/104"], "10.1.2.3", true),
            (&["10.9.9.9/8"], "10.1.2.3", true),
            (&["10.0.0.0/8"], "11.1.2.3", false),
            (&["127.0.0.1", "::1"], "::1", true),
            (&["127.0.0.1"], "127.0.0.2", false),
            (&["fd00::/8"], "fd12::1", true),
            (&["unix"], "127.0.0.1", false),
            (&[], "127.0.0.1", false),
        ] {
            assert_eq!(trusted(list).includes(tcp(ip)), expected, "{list:?} {ip}");
        }
        assert!(trusted(&["unix"]).includes(Endpoint::Unix) && !trusted(&["::/0"]).includes(Endpoint::Unix));
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "unix:/run/a", "10.0.0", "*"] {
            assert_eq!(text.parse::<TrustedPeer>(), Err(NoPeer), "{text}");
        }
    }
}
