//! What a proxy in front says about the client, if it is one that the operator trusts.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::names::Forwarding;
use crate::http1::{RequestHead, elements, strip_start};
use crate::peer::{Peer, Scheme, Trusted};

/// The lines in which a trusted proxy speaks of the client.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// The values of `X-Forwarded-For`.
    pub(super) addresses: SmallVec<[&'a [u8]; 2]>,
    /// Those of `Forwarded`.
    pub(super) forwarded: SmallVec<[&'a [u8]; 1]>,
    /// That of `X-Forwarded-Host`.
    pub(super) host: Option<&'a [u8]>,
    /// That of `X-Forwarded-Proto`, whatever it is.
    pub(super) proto: Option<&'a [u8]>,
    /// What else says how the client came.
    scheme: Option<Scheme>,
}

impl<'a> Said<'a> {
    /// `None` if the peer is not trusted: it may say what it likes.
    pub(super) fn of(head: &'a RequestHead, peer: &Peer, trusted: &Trusted) -> Option<Self> {
        if !trusted.includes(peer.address) {
            return None;
        }
        let mut said = Self::default();
        for line in head.lines() {
            let value = line.value;
            match Forwarding::of(line.name) {
                Some(Forwarding::For) => said.addresses.push(value),
                Some(Forwarding::Forwarded) => said.forwarded.push(value),
                Some(Forwarding::Host) => said.host = Some(value),
                Some(Forwarding::Proto) if line.name.eq_ignore_ascii_case(b"x-forwarded-proto") => {
                    said.proto = Some(value);
                }
                Some(Forwarding::Proto) => said.scheme = said.scheme.or_else(|| scheme(value)),
                Some(Forwarding::Tls) => said.scheme = said.scheme.or_else(|| tls(value)),
                Some(Forwarding::Other) if line.name.eq_ignore_ascii_case(b"cf-visitor") => {
                    let is_https = value.windows(7).any(|part| part == b"\"https\"");
                    said.scheme = said.scheme.or(Some(if is_https { Scheme::Https } else { Scheme::Http }));
                }
                _ => {}
            }
        }
        Some(said)
    }

    /// How the client came, as far as the proxy says so.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        // Of several, the last one is what the proxy itself has added.
        let proto = self.proto.and_then(|value| elements(value).last()).and_then(scheme);
        let forwarded = || {
            let last = self.forwarded_elements().last()?;
            parameter(last, b"proto").and_then(|value| scheme(&value))
        };
        proto.or_else(forwarded).or(self.scheme)
    }

    /// The elements of `Forwarded`, in their order.
    pub(super) fn forwarded_elements(&self) -> impl Iterator<Item = &'a [u8]> {
        self.forwarded.iter().flat_map(|value| split_outside_quotes(value, b','))
    }

    /// The nodes on the way, the nearest last: those of `X-Forwarded-For`, or else of `Forwarded`.
    pub(super) fn nodes(&self) -> SmallVec<[Cow<'a, [u8]>; 4]> {
        if self.addresses.is_empty() {
            let unknown = || Cow::Borrowed(&b"unknown"[..]);
            return self
                .forwarded_elements()
                .map(|one| parameter(one, b"for").unwrap_or_else(unknown))
                .collect();
        }
        self.addresses.iter().flat_map(|value| elements(value)).map(Cow::Borrowed).collect()
    }

    /// Who the client is: the nearest node that is not trusted itself. Where a node is no address, the way
    /// to the client is lost, and it is the one before.
    fn client(&self, peer: &Peer, trusted: &Trusted) -> Option<IpAddr> {
        let mut client = peer.address.ip();
        for node in self.nodes().iter().rev() {
            let Some(ip) = node_ip(node) else { break };
            client = Some(ip);
            if !trusted.includes_ip(ip) {
                break;
            }
        }
        client
    }
}

/// Who asks: the peer, or whom a trusted proxy speaks for. `None`: somebody on this machine, over a Unix socket.
pub(in crate::proxy) fn client(head: &RequestHead, peer: &Peer, trusted: &Trusted) -> Option<IpAddr> {
    match Said::of(head, peer, trusted) {
        Some(said) => said.client(peer, trusted),
        None => peer.address.ip(),
    }
}

/// The address of a node, which may have a port (RFC 7239 section 6, and as `X-Forwarded-For` has it).
pub(super) fn node_ip(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(ip, _)| ip);
    let ip = bare.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    // A port may also be one of RFC 7239's obfuscated ones.
    let ip = ip.or_else(|| text.split_once(':')?.0.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

fn scheme(value: &[u8]) -> Option<Scheme> {
    match value {
        _ if value.eq_ignore_ascii_case(b"https") || value.eq_ignore_ascii_case(b"wss") => {
            Some(Scheme::Https)
        }
        _ if value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"ws") => Some(Scheme::Http),
        _ => None,
    }
}

/// What `on` and its like say; an `X-ARR-SSL` describes a certificate.
fn tls(value: &[u8]) -> Option<Scheme> {
    let off: [&[u8]; 5] = [b"off", b"0", b"no", b"false", b"http"];
    match value {
        b"" => None,
        _ if off.iter().any(|off| value.eq_ignore_ascii_case(off)) => Some(Scheme::Http),
        _ => Some(Scheme::Https),
    }
}

/// The value of a parameter of an element of `Forwarded`, without its quotes (RFC 7239 section 4).
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    split_outside_quotes(element, b';').find_map(|pair| {
        let value = strip_start(pair, name)?.strip_prefix(b"=")?;
        let Some(quoted) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
            return Some(Cow::Borrowed(value));
        };
        if !quoted.contains(&b'\\') {
            return Some(Cow::Borrowed(quoted));
        }
        let mut escaped = false;
        let plain = quoted.iter().copied().filter(|&byte| {
            escaped = byte == b'\\' && !escaped;
            !escaped
        });
        Some(Cow::Owned(plain.collect()))
    })
}

/// The parts of a list, without blanks and empty ones. What stands between quotes separates nothing.
fn split_outside_quotes(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            byte == separator && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;
    use crate::peer::{Endpoint, TrustedPeer};

    fn trusted() -> Trusted {
        ["10.0.0.0/8", "127.0.0.1", "unix"].iter().map(|text| text.parse::<TrustedPeer>().unwrap()).collect()
    }

    fn peer(ip: &str) -> Peer {
        let end = match ip {
            "unix" => Endpoint::Unix,
            ip => Endpoint::Tcp(SocketAddr::new(ip.parse().unwrap(), 5000)),
        };
        Peer::plain(end, Endpoint::Unix)
    }

    fn client(from: &str, lines: &[&str]) -> Option<String> {
        let head = request("1.1", "/", lines);
        let said = Said::of(&head, &peer(from), &trusted())?;
        Some(said.client(&peer(from), &trusted()).map_or("nobody".into(), |ip| ip.to_string()))
    }

    #[test]
    fn the_client_is_the_nearest_node_that_is_not_trusted() {
        for (from, lines, expected) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["X-Forwarded-For: 6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["X-Forwarded-For: 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
            ("127.0.0.1", &["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.7,10.1.1.1"], "192.0.2.7"),
            ("127.0.0.1", &["X-Forwarded-For: 10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            ("127.0.0.1", &["X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
            ("127.0.0.1", &["X-Forwarded-For: 192.0.2.7:4711"], "192.0.2.7"),
            ("127.0.0.1", &["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:80\";proto=https"], "2001:db8::1"),
            ("127.0.0.1", &["Forwarded: For=192.0.2.7:_port"], "192.0.2.7"),
            ("unix", &["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
            ("unix", &[], "nobody"),
        ] {
            assert_eq!(client(from, lines).as_deref(), Some(expected), "{from} {lines:?}");
        }
        assert_eq!(client("192.0.2.1", &["X-Forwarded-For: 6.6.6.6"]), None);
    }

    #[test]
    fn the_scheme_is_read_in_every_spelling() {
        for (line, expected) in [
            ("X-Forwarded-Proto: https", Some(Scheme::Https)),
            ("X-Forwarded-Proto: http, HTTPS", Some(Scheme::Https)),
            ("X-Forwarded-Proto: gopher", None),
            ("Forwarded: for=a;proto=http, for=\"b,c\" ;Proto=\"https\"", Some(Scheme::Https)),
            ("X-Forwarded-Ssl: on", Some(Scheme::Https)),
            ("Front-End-Https: off", Some(Scheme::Http)),
            ("X-Url-Scheme: https", Some(Scheme::Https)),
            ("CF-Visitor: {\"scheme\":\"https\"}", Some(Scheme::Https)),
            ("X-Forwarded-For: a", None),
        ] {
            let head = request("1.1", "/", &[line]);
            let said = Said::of(&head, &peer("unix"), &trusted()).unwrap();
            assert_eq!(said.scheme(), expected, "{line}");
        }
    }

    #[test]
    fn quotes_hide_what_would_separate() {
        let value = br#"for="a,\"b;c";host=d, for=e"#;

        let parts: Vec<_> = split_outside_quotes(value, b',').collect();

        assert_eq!(parts, [&br#"for="a,\"b;c";host=d"#[..], b"for=e"]);
        assert_eq!(parameter(parts[0], b"for").as_deref(), Some(&br#"a,"b;c"#[..]));
        assert_eq!(parameter(parts[0], b"host").as_deref(), Some(&b"d"[..]));
    }
}
