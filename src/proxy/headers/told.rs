//! What the backend is told: which host is meant, who asks, and through whom (PROTOCOL 5).

use std::net::IpAddr;

use http::Version;
use smallvec::SmallVec;

use super::rules::Rules;
use super::said::Said;
use super::via;
use crate::http1::{Field, Lines, RequestHead};
use crate::peer::{Peer, Scheme};
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
            // `host:` is another spelling of `host`, which not every server takes in a `Host` line.
            let name = authority.strip_suffix(b":").unwrap_or(authority);
            return Self { name, is_said: true };
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

/// What the backend is told about, besides the host.
pub(super) struct Told<'a, 's> {
    pub(super) peer: &'a Peer,
    pub(super) id: RequestId,
    /// In which version the request came.
    pub(super) received: Version,
    /// What a trusted proxy has said.
    pub(super) said: Option<&'a Said<'s>>,
}

/// Adds what the backend is told about the client and us (PROTOCOL 5): four lines, unless the operator wants
/// more of them (some servers count) or a proxy in front has said more.
pub(super) fn add_ours(lines: &mut Lines, host: &[u8], told: &Told<'_, '_>, rules: &Rules) {
    let Told { peer, id, received, said } = *told;
    let text = peer.address.ip().map(ip_text);
    match said {
        None => {
            if let Some(text) = &text {
                lines.put("X-Forwarded-For", text);
            }
        }
        Some(said) => add_nodes(lines, said, text.as_deref()),
    }
    let scheme = said.and_then(Said::scheme).unwrap_or(peer.scheme);
    if said.is_none_or(|said| said.proto.is_none()) {
        lines.put("X-Forwarded-Proto", scheme.as_str().as_bytes());
    }
    lines.put("X-Request-Id", id.text());
    lines.put_all(concat!("Outboard: ", env!("CARGO_PKG_VERSION"), "\r\n"));
    if rules.forwarded && said.is_none_or(|said| said.host.is_none()) {
        lines.put("X-Forwarded-Host", host);
    }
    if rules.forwarded || said.is_some_and(|said| !said.forwarded.is_empty()) {
        lines.put_with("Forwarded", |value| {
            if let Some(said) = said {
                write_said(value, said, scheme);
            }
            write_forwarded(value, text.as_deref().unwrap_or(b"unknown"), Some(host), peer.scheme);
        });
    }
    if rules.via {
        lines.put("Via", via(received).as_bytes());
    }
}

/// Adds `X-Forwarded-For` with what a trusted proxy has said and who that proxy is.
fn add_nodes(lines: &mut Lines, said: &Said<'_>, peer: Option<&[u8]>) {
    let nodes = said.nodes();
    let all = nodes.iter().map(AsRef::as_ref).chain(peer);
    if nodes.is_empty() && peer.is_none() {
        return;
    }
    let value: Vec<&[u8]> = all.collect();
    // What stood in the quotes of `Forwarded` may be anything.
    lines.add("X-Forwarded-For", &value.join(&b", "[..]));
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

/// Writes what a trusted proxy has said in `Forwarded`; if it said nothing there, what it said in
/// `X-Forwarded-For` (RFC 7239 section 7.4).
fn write_said(value: &mut Vec<u8>, said: &Said<'_>, scheme: Scheme) {
    if said.forwarded.is_empty() {
        for (index, node) in said.nodes().iter().enumerate() {
            let node = super::said::node_ip(node).map(ip_text);
            // The host is the one that the client has named, which is the first to be asked.
            let host = said.host.filter(|_| index == 0);
            write_forwarded(value, node.as_deref().unwrap_or(b"unknown"), host, scheme);
            value.extend_from_slice(b", ");
        }
        return;
    }
    for element in said.forwarded_elements() {
        value.extend_from_slice(element);
        value.extend_from_slice(b", ");
    }
}

/// Writes an element of `Forwarded` (RFC 7239 section 4): whatever is no token stands in quotes.
fn write_forwarded(value: &mut Vec<u8>, node: &[u8], host: Option<&[u8]>, scheme: Scheme) {
    let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    value.extend_from_slice(b"for=");
    match node.contains(&b':') {
        true => [&b"\"["[..], node, b"]\""].into_iter().for_each(|part| value.extend_from_slice(part)),
        false => value.extend_from_slice(node),
    }
    match host {
        None => {}
        Some(host) if host.iter().all(is_token) => {
            value.extend_from_slice(b";host=");
            value.extend_from_slice(host);
        }
        Some(host) => {
            value.extend_from_slice(b";host=\"");
            write_quoted(value, host);
            value.push(b'"');
        }
    }
    value.extend_from_slice(b";proto=");
    value.extend_from_slice(scheme.as_str().as_bytes());
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
    use std::net::SocketAddr;

    use super::super::tests::request;
    use super::*;
    use crate::peer::{Endpoint, TrustedPeer};

    fn tcp(address: &str) -> Peer {
        Peer::plain(address.parse::<SocketAddr>().unwrap().into(), Endpoint::Unix)
    }

    fn unix() -> Peer {
        Peer::plain(Endpoint::Unix, Endpoint::Unix)
    }

    /// The lines about a client that asks for this host in HTTP/1.0, after whoever is trusted has said so
    /// much.
    fn told(peer: &Peer, host: &str, given: &[&str], rules: &Rules) -> Vec<String> {
        let head = request("1.0", "/", given);
        let said = Said::of(&head, peer, &rules.trusted);
        let mut lines = Lines::default();
        let told = Told { peer, id: RequestId::generate(), received: Version::HTTP_10, said: said.as_ref() };
        add_ours(&mut lines, host.as_bytes(), &told, rules);
        let text = String::from_utf8(lines.as_bytes().to_vec()).unwrap();
        let is_ours = |line: &&str| !line.starts_with("X-Request-Id: ") && !line.starts_with("Outboard: ");
        text.lines().filter(is_ours).map(Into::into).collect()
    }

    fn all() -> Rules {
        Rules { forwarded: true, via: true, ..Rules::default() }
    }

    fn trusting() -> Rules {
        let trusted =
            ["10.0.0.0/8", "unix"].iter().map(|text| text.parse::<TrustedPeer>().unwrap()).collect();
        Rules { trusted, ..Rules::default() }
    }

    #[test]
    fn two_lines_say_who_asks_and_how_and_more_only_if_somebody_wants_them() {
        let peer = tcp("[::ffff:192.0.2.7]:5000");

        assert_eq!(
            told(&peer, "a", &[], &Rules::default()),
            ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http"]
        );
        assert_eq!(
            told(&peer, "a", &[], &all()),
            [
                "X-Forwarded-For: 192.0.2.7",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: a",
                "Forwarded: for=192.0.2.7;host=a;proto=http",
                "Via: 1.0 outboard"
            ]
        );
    }

    #[test]
    fn each_octet_of_an_address_is_written_out() {
        assert_eq!(
            told(&tcp("255.10.0.9:5000"), "a", &[], &Rules::default())[0],
            "X-Forwarded-For: 255.10.0.9"
        );
    }

    #[test]
    fn no_host_ends_the_quotes_it_stands_in() {
        let told = told(&tcp("192.0.2.7:5000"), "a\";for=\\evil", &[], &all());

        assert_eq!(told[3], r#"Forwarded: for=192.0.2.7;host="a\";for=\\evil";proto=http"#);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_its_own_address_appended() {
        let given = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"];

        let told = told(&tcp("10.0.0.1:5000"), "a", &given, &trusting());

        // The line with the scheme stays as it is, and is not ours to add.
        assert_eq!(told, ["X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.1"]);
    }

    #[test]
    fn a_proxy_on_a_unix_socket_has_no_address_to_append() {
        let (told, silent) = (
            told(&unix(), "a", &["X-Forwarded-For: 192.0.2.7"], &trusting()),
            told(&unix(), "a", &[], &trusting()),
        );

        assert_eq!(told, ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http"]);
        assert_eq!(silent, ["X-Forwarded-Proto: http"]);
    }

    #[test]
    fn forwarded_is_appended_to_and_gives_what_the_other_lines_lack() {
        let given = ["Forwarded: for=\"[2001:db8::1]:80\";proto=https, for=_hidden;proto=https"];

        let told = told(&tcp("10.0.0.1:5000"), "a", &given, &trusting());

        assert_eq!(
            told,
            [
                "X-Forwarded-For: [2001:db8::1]:80, _hidden, 10.0.0.1",
                "X-Forwarded-Proto: https",
                "Forwarded: for=\"[2001:db8::1]:80\";proto=https, for=_hidden;proto=https, for=10.0.0.1;host=a;proto=http"
            ]
        );
    }

    #[test]
    fn forwarded_is_made_of_the_other_lines_if_it_is_wanted_and_was_not_said() {
        let given = ["X-Forwarded-For: 2001:db8::1, ?", "X-Forwarded-Ssl: on", "X-Forwarded-Host: b"];

        let told = told(&tcp("10.0.0.1:5000"), "a", &given, &Rules { forwarded: true, ..trusting() });

        assert_eq!(
            told.last().unwrap(),
            "Forwarded: for=\"[2001:db8::1]\";host=b;proto=https, for=unknown;proto=https, \
             for=10.0.0.1;host=a;proto=http"
        );
        assert_eq!(told[1], "X-Forwarded-Proto: https");
    }
}
