//! What a proxy in front says about a client before the client's own bytes: the PROXY protocol, versions 1
//! and 2.
//!
//! Whoever may say so decides who the client is. So it is asked of trusted proxies only, and of them always: a
//! connection without an introduction would be that of somebody who got around the proxy.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;

use crate::once::{News, Once};
use crate::peer::{Endpoint, Peer, Scheme, Trusted};
use crate::socket::Socket;

/// The most bytes of an introduction: the addresses, and what a proxy may add to them.
const LONGEST: usize = 4096;
/// How many peers are named whose introductions are not taken.
const MOST_NAMED: usize = 16;
/// On this port, clients speak TLS.
const HTTPS_PORT: u16 = 443;

/// Who has to introduce clients.
#[derive(Debug)]
pub struct Introductions {
    trusted: Arc<ArcSwap<Trusted>>,
    refused: Once<String>,
}

/// Why a connection is closed before it has said anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Refused {
    #[error("it is not among `trusted_proxies`, and only those are served with `proxy_protocol`")]
    Stranger,
    #[error(
        "what it sends does not begin with a PROXY header; is `proxy_protocol` (or send-proxy) set there too?"
    )]
    Nonsense,
    #[error("its PROXY header did not come within `header_timeout`")]
    Late,
    /// A look whether we are there, as load balancers do.
    #[error("it left without a word")]
    Left,
}

impl Introductions {
    /// Introductions by those who are trusted at the time.
    pub fn by(trusted: Arc<ArcSwap<Trusted>>) -> Self {
        Self { trusted, refused: Once::at_most(MOST_NAMED) }
    }

    /// Reads the introduction of a connection: who the client is, and what was read beyond. `None`: the
    /// connection is not served.
    pub(super) async fn hear(
        &self,
        socket: &mut Socket,
        peer: Peer,
        limit: Duration,
    ) -> Option<(Peer, Bytes)> {
        let heard = match self.trusted.load().includes(peer.address) {
            false => Err(Refused::Stranger),
            true => match tokio::time::timeout(limit, read(socket, peer)).await {
                Ok(heard) => heard,
                Err(_elapsed) => Err(Refused::Late),
            },
        };
        heard.map_err(|reason| self.tell(peer, reason)).ok()
    }

    fn tell(&self, peer: Peer, reason: Refused) {
        let name = peer.address.ip().map_or("unix".into(), |ip| ip.to_string());
        if reason == Refused::Left {
            return tracing::debug!(peer = name, %reason, "a connection is not served");
        }
        match self.refused.note(format!("{name} {reason}")) {
            News::Known => tracing::debug!(peer = name, %reason, "a connection is not served"),
            News::New => tracing::warn!(peer = name, %reason, "a connection is not served"),
            News::Last => tracing::warn!(
                peer = name, %reason, "a connection is not served; no further such peers are named"
            ),
        }
    }
}

async fn read(socket: &mut Socket, peer: Peer) -> Result<(Peer, Bytes), Refused> {
    let mut bytes = BytesMut::with_capacity(512);
    loop {
        match socket.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if bytes.is_empty() => return Err(Refused::Left),
            Ok(0) | Err(_) => return Err(Refused::Nonsense),
        }
        if let Some((introduced, length)) = parse(&bytes, peer)? {
            return Ok((introduced, bytes.split_off(length).freeze()));
        }
        if bytes.len() >= LONGEST {
            return Err(Refused::Nonsense);
        }
    }
}

/// Who is introduced, and how long the introduction is; `None` if it goes on.
fn parse(bytes: &[u8], peer: Peer) -> Result<Option<(Peer, usize)>, Refused> {
    // The parser waits for as many bytes as the shortest header has, and does not look for the blank.
    const V1: &[u8] = b"PROXY ";
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if !begins(V1) && !begins(V2) {
        return Err(Refused::Nonsense);
    }
    match ProxyHeader::parse(bytes, ParseConfig::default()) {
        Ok((header, length)) => Ok(Some((introduced(&header, peer), length))),
        Err(proxy_header::Error::BufferTooShort) => Ok(None),
        Err(_) => Err(Refused::Nonsense),
    }
}

/// The client, or the proxy itself where it speaks for nobody (`LOCAL`, `UNKNOWN`), as when it looks whether we
/// are well.
fn introduced(header: &ProxyHeader<'_>, peer: Peer) -> Peer {
    let Some(client) = header.proxied_address() else { return peer };
    // TLS ends at the proxy, which says so, or else at the port at which nobody speaks anything else.
    let in_tls = match header.ssl() {
        Some(ssl) => ssl.client_ssl(),
        None => client.destination.port() == HTTPS_PORT,
    };
    let scheme = if in_tls { Scheme::Https } else { peer.scheme };
    let (address, local) = (Endpoint::Tcp(client.source), Endpoint::Tcp(client.destination));
    Peer { address, local, scheme, ..peer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer::plain(Endpoint::Unix, Endpoint::Unix)
    }

    /// Who is introduced by these bytes, in any pieces.
    fn client(bytes: &[u8]) -> Result<Option<(String, Scheme, usize)>, Refused> {
        for length in 0..bytes.len() {
            match parse(&bytes[..length], peer())? {
                None => {}
                Some((_, used)) => assert!(used <= length),
            }
        }
        let parsed = parse(bytes, peer())?;
        Ok(parsed.map(|(peer, length)| (peer.address.to_string(), peer.scheme, length)))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_client_is_introduced_in_either_version() {
        let tcp4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x11, 0x22, 0, 80];
        let tls = [&tcp4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4386 80\r\n".to_vec(), ("192.0.2.7:4386", Scheme::Http)),
            (b"PROXY TCP6 2001:db8::1 ::1 1 443\r\n".to_vec(), ("[2001:db8::1]:1", Scheme::Https)),
            (b"PROXY UNKNOWN\r\n".to_vec(), ("unix", Scheme::Http)),
            (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n".to_vec(), ("unix", Scheme::Http)),
            (v2(0x21, 0x11, &tcp4), ("192.0.2.7:4386", Scheme::Http)),
            (v2(0x21, 0x11, &tls), ("192.0.2.7:4386", Scheme::Https)),
            (v2(0x20, 0x00, b""), ("unix", Scheme::Http)),
            (v2(0x20, 0x11, &tcp4), ("unix", Scheme::Http)),
            (v2(0x21, 0x31, &[0; 216]), ("unix", Scheme::Http)),
        ] {
            let length = bytes.len();
            let with_more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            let expected = Ok(Some((expected.0.to_owned(), expected.1, length)));
            assert_eq!(client(&bytes), expected, "{bytes:?}");
            assert_eq!(client(&with_more), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_introduction_is_none_and_is_not_waited_for() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"PROXYX",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4386 80\r\r",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4386 80\r\n",
            b"PROXY TCP4 ::1 ::1 4386 80\r\n",
            b"PROXY TCP5 192.0.2.7 10.0.0.1 4386 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            b"\r\n\r\n\0\r\nQUIX",
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x21, 0x77, &[0; 12]),
        ] {
            assert_eq!(parse(bytes, peer()), Err(Refused::Nonsense), "{bytes:?}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        assert_eq!(parse(&endless, peer()), Err(Refused::Nonsense));
    }
}
