//! Who is at the other end of a client connection.

use std::net::SocketAddr;

/// What is known of a client before it has said anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The address of ours that it came to.
    pub local: SocketAddr,
}
