//! Where an answer sends its client: never to the address of the site behind.
//!
//! A site that makes a URL of its own address, as in `Location: http://127.0.0.1:8080/here`, sends browsers to
//! where they cannot go. What stands behind that address is left, which is the same place as seen by the client,
//! whatever stands in front of us. nginx does so too (`proxy_redirect default`).

use crate::http1::{AnswerHead, Header, begins, strip_start};
use crate::proxy::address::Address;

/// Headers that name a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// `Location` and `Content-Location` (RFC 9110 sections 10.2.2 and 8.7).
    Url,
    /// `Refresh`, as in `5; url=http://…`.
    Refresh,
}

impl Kind {
    fn of(name: &[u8]) -> Option<Self> {
        // Looked at by its length: most names have another one.
        match name.len() {
            8 if name.eq_ignore_ascii_case(b"location") => Some(Self::Url),
            16 if name.eq_ignore_ascii_case(b"content-location") => Some(Self::Url),
            7 if name.eq_ignore_ascii_case(b"refresh") => Some(Self::Refresh),
            _ => None,
        }
    }
}

/// Whether an answer has anything to look at.
pub(in crate::proxy) fn has_locations(head: &AnswerHead) -> bool {
    head.lines().any(|line| Kind::of(line.name).is_some())
}

/// What a line says instead, if it names the site's own address. `host` is what the client asked for.
pub(in crate::proxy) fn rewritten(line: Header<'_>, site: &Address, host: &[u8]) -> Option<Vec<u8>> {
    match Kind::of(line.name)? {
        Kind::Url => seen_by_client(line.value, site, host),
        Kind::Refresh => {
            let at = line.value.windows(4).position(|part| part.eq_ignore_ascii_case(b"url="))? + 4;
            let (before, url) = line.value.split_at(at);
            let quote = url.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
            let quotes = usize::from(quote.is_some());
            let seen = seen_by_client(&url[quotes..], site, host)?;
            Some([before, &url[..quotes], &seen].concat())
        }
    }
}

/// The URL without the site's own address.
fn seen_by_client(url: &[u8], site: &Address, host: &[u8]) -> Option<Vec<u8>> {
    let rest = strip_start(url, b"http://")?;
    let end = rest.iter().position(|byte| b"/?#\\\"'".contains(byte)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !is_site(authority, site, host) {
        return None;
    }
    // A path that begins with two slashes would be taken for a host (RFC 3986 section 4.2), and browsers read a
    // backslash as a slash.
    let is_taken_for_host = path.len() > 1 && b"/\\".contains(&path[1]) && path[0] == b'/';
    Some(match path.first() {
        Some(b'/') if is_taken_for_host => [b"/.", path].concat(),
        Some(b'/') => path.to_vec(),
        _ => [b"/", path].concat(),
    })
}

/// Whether this is where the site listens: its address as we are told it, or the client's host with the site's
/// port, which a server says that knows its own port and not the one in front of it.
fn is_site(authority: &[u8], site: &Address, host: &[u8]) -> bool {
    let Address::Tcp { host: own, port: own_port } = site else { return false };
    let (name, port) = split(authority);
    if port != Some(*own_port) {
        return false;
    }
    let (asked, asked_port) = split(host);
    let is_asked = name.eq_ignore_ascii_case(asked) && asked_port != port;
    let is_own =
        name.eq_ignore_ascii_case(own.as_bytes()) || is_loopback(name) && is_loopback(own.as_bytes());
    is_own || is_asked
}

/// A host without the brackets of IPv6, and its port, which is 80 if none is written.
fn split(authority: &[u8]) -> (&[u8], Option<u16>) {
    let (name, port) = match authority.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return (authority, None),
        },
        None => {
            authority.split_at(authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len()))
        }
    };
    let port = match port {
        b"" => Some(80),
        port => port.strip_prefix(b":").and_then(|port| std::str::from_utf8(port).ok()?.parse().ok()),
    };
    (name, port)
}

fn is_loopback(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"localhost") || name == b"::1" || begins(name, b"127.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Field;

    fn changed(name: &str, value: &str, site: (&str, u16), host: &str) -> Option<String> {
        let line = Header { field: Field::Other, name: name.as_bytes(), value: value.as_bytes() };
        let site = Address::Tcp { host: site.0.into(), port: site.1 };
        rewritten(line, &site, host.as_bytes()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn the_sites_own_address_is_left_out() {
        for (value, expected) in [
            ("http://127.0.0.1:8080/target.html?a#b", Some("/target.html?a#b")),
            ("HTTP://localhost:8080", Some("/")),
            ("http://[::1]:8080?a=b", Some("/?a=b")),
            ("http://127.0.0.1:8080//evil.example/", Some("/.//evil.example/")),
            ("http://127.0.0.1:8080/\\evil.example/", Some("/./\\evil.example/")),
            ("http://www.example.org:8080/dir/", Some("/dir/")),
            ("http://127.0.0.1/", None),
            ("http://127.0.0.1:8081/", None),
            ("http://user@127.0.0.1:8080/", None),
            ("https://127.0.0.1:8080/", None),
            ("http://other.example:8080/", None),
            ("http://www.example.org/", None),
            ("/target.html", None),
            ("//127.0.0.1:8080/", None),
            ("", None),
        ] {
            for name in ["Location", "content-location"] {
                let changed = changed(name, value, ("127.0.0.1", 8080), "www.example.org");
                assert_eq!(changed.as_deref(), expected, "{name}: {value}");
            }
        }
    }

    #[test]
    fn a_named_site_is_known_with_and_without_its_port() {
        for (value, port, expected) in [
            ("http://app/a", 80, Some("/a")),
            ("http://APP:80/a", 80, Some("/a")),
            ("http://app/a", 8080, None),
            ("http://localhost/a", 80, None),
            // Whoever asks for the site by this very address gets it.
            ("http://www.example.org/a", 80, None),
        ] {
            assert_eq!(
                changed("Location", value, ("app", port), "www.example.org").as_deref(),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn a_refresh_keeps_its_time_and_its_quotes() {
        for (value, expected) in [
            ("5; url=http://127.0.0.1:8080/a", Some("5; url=/a")),
            ("0;URL='http://127.0.0.1:8080/a'", Some("0;URL='/a'")),
            ("5", None),
            ("5; url=/a", None),
        ] {
            assert_eq!(changed("Refresh", value, ("127.0.0.1", 8080), "a").as_deref(), expected, "{value}");
        }
        assert_eq!(changed("X-Location", "http://127.0.0.1:8080/a", ("127.0.0.1", 8080), "a"), None);
    }
}
