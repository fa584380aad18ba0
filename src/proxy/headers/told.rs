//! What the backend is told: which host is meant, who asks, and through whom (PROTOCOL 5).

use std::net::IpAddr;

use http::Version;
use smallvec::SmallVec;

use super::via;
use crate::http1::{Field, Lines, RequestHead};
use crate::peer::Peer;
use crate::proxy::request_id::RequestId;

/// Which host the backend is told.
pub(super) struct Host<'a> {
    /// Its name, with the port if there is one.
    pub(super) name: &'a [u8],
    /// Whether we say it, and not the client's own line.
    pub(super) is_said: bool,
}

impl<'a> Host<'a> {
    /// The host of a target in absolute form replaces that of the `Host` header (RFC 9112 section 3.2.2).
    pub(super) fn of(head: &'a RequestHead, own_host: &'a str) -> Self {
        if let Some(authority) = head.authority() {
            return Self { name: authority, is_said: true };
        }
        match head.values(Field::Host).next() {
            Some(name) => Self { name, is_said: false },
            None => Self { name: own_host.as_bytes(), is_said: true },
        }
    }

    /// Adds its line ahead of the client's own, if it is ours to say.
    pub(super) fn say_ahead(&self, lines: &mut Lines) {
        if self.is_said {
            lines.put("Host", self.name);
        }
    }
}

/// Adds what the backend is told about the client and us (PROTOCOL 5).
pub(super) fn add_ours(lines: &mut Lines, host: &[u8], peer: &Peer, id: RequestId, received: Version) {
    let ip = peer.address.ip().to_canonical();
    let text = ip_text(ip);
    lines.put("X-Forwarded-For", &text);
    lines.put("X-Forwarded-Host", host);
    let (before, behind): (&[u8], &[u8]) = if ip.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
    lines.put_with("Forwarded", |value| write_forwarded(value, [before, &text, behind], host));
    lines.put("X-Request-Id", &id.text());
    // Nothing but HTTP comes in yet, so this is the same for all.
    lines.put_all(concat!("X-Forwarded-Proto: http\r\nOutboard: ", env!("CARGO_PKG_VERSION"), "\r\n"));
    lines.put("Via", via(received).as_bytes());
}

fn ip_text(ip: IpAddr) -> SmallVec<[u8; 48]> {
    let mut text = SmallVec::new();
    match ip {
        // Without a detour through a formatter: nearly every request has such an address.
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(ip) => text.extend_from_slice(ip.to_string().as_bytes()),
    }
    text
}

/// Writes the value of `Forwarded` (RFC 7239 section 4): whatever is no token stands in quotes.
fn write_forwarded(value: &mut Vec<u8>, node: [&[u8]; 3], host: &[u8]) {
    let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    value.extend_from_slice(b"for=");
    node.into_iter().for_each(|part| value.extend_from_slice(part));
    if host.iter().all(is_token) {
        value.extend_from_slice(b";host=");
        value.extend_from_slice(host);
    } else {
        value.extend_from_slice(b";host=\"");
        write_quoted(value, host);
        value.push(b'"');
    }
    value.extend_from_slice(b";proto=http");
}

/// Writes what stands between quotes (RFC 9110 section 5.6.4).
fn write_quoted(value: &mut Vec<u8>, text: &[u8]) {
    if memchr::memchr2(b'"', b'\\', text).is_none() {
        return value.extend_from_slice(text);
    }
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines about a client at this address that asks for this host in HTTP/1.0.
    fn told(address: &str, host: &str) -> String {
        let peer = Peer { address: address.parse().unwrap(), local: "127.0.0.1:80".parse().unwrap() };
        let mut lines = Lines::default();
        add_ours(&mut lines, host.as_bytes(), &peer, RequestId::generate(), Version::HTTP_10);
        String::from_utf8(lines.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_has_an_ipv4_address() {
        let told = told("[::ffff:192.0.2.7]:5000", "a");

        assert!(told.starts_with("X-Forwarded-For: 192.0.2.7\r\n"), "{told}");
        assert!(told.contains("\r\nForwarded: for=192.0.2.7;host=a;proto=http\r\n"), "{told}");
        assert!(told.ends_with("\r\nVia: 1.0 outboard\r\n"), "{told}");
    }

    #[test]
    fn each_octet_of_an_address_is_written_out() {
        let told = told("255.10.0.9:5000", "a");

        assert!(told.starts_with("X-Forwarded-For: 255.10.0.9\r\n"), "{told}");
    }

    #[test]
    fn no_host_ends_the_quotes_it_stands_in() {
        let told = told("192.0.2.7:5000", "a\";for=\\evil");

        assert!(told.contains(r#"Forwarded: for=192.0.2.7;host="a\";for=\\evil";proto=http"#), "{told}");
    }
}
