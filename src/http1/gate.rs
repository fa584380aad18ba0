//! What a request must be before anybody acts on it: readable in one way only.

use http::{Method, Version};

use super::Length;
use super::field::Field;
use super::head::RequestHead;
use super::refusal::Refusal;
use super::value::{begins, elements, number};

/// Checks a request's head before anybody acts on it; how long its body is.
///
/// # Errors
/// When another server could understand the request otherwise than we do.
pub fn check(head: &RequestHead) -> Result<Length, Refusal> {
    check_target(head)?;
    let mut seen = Stated::default();
    for line in head.lines() {
        match line.field {
            Field::ContentLength => seen.length(line.value)?,
            Field::TransferEncoding => seen.coding(line.value, head.start.version)?,
            Field::Connection => check_connection(line.value)?,
            Field::Expect if !line.value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refusal::Expectation);
            }
            _ => {}
        }
    }
    match (seen.chunked, seen.length) {
        (true, Some(_)) => Err(Refusal::ContentLength),
        (true, None) => Ok(Length::Chunked),
        (false, length) => Ok(Length::Exactly(length.unwrap_or(0))),
    }
}

/// Checks that a target has nothing but visible ASCII, for those who want no other.
///
/// # Errors
/// When it has bytes that should have been percent-encoded.
pub fn check_escaped(head: &RequestHead) -> Result<(), Refusal> {
    if head.full_target().is_ascii() { Ok(()) } else { Err(Refusal::Target) }
}

/// Checks that a request is for one host, before it is passed on to a server that may have several.
///
/// # Errors
/// When that server could take it for another one's.
pub fn check_host(head: &RequestHead) -> Result<(), Refusal> {
    let mut hosts = head.values(Field::Host);
    let Some(host) = hosts.next() else {
        return if head.start.version == Version::HTTP_10 { Ok(()) } else { Err(Refusal::NoHost) };
    };
    match hosts.next() {
        Some(_) => Err(Refusal::SeveralHosts),
        None if is_host(host) => Ok(()),
        None => Err(Refusal::Host),
    }
}

/// What there may be only one of.
#[derive(Default)]
struct Stated {
    chunked: bool,
    length: Option<u64>,
}

impl Stated {
    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let padded = value.starts_with(b"0") && value.len() > 1;
        if padded || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::ContentLength);
        }
        let countable = |length: &u64| i64::try_from(*length).is_ok();
        let length = number(value).filter(countable).ok_or(Refusal::BodyTooLarge)?;
        if self.length.replace(length).is_some() { Err(Refusal::ContentLength) } else { Ok(()) }
    }

    fn coding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        let first = !std::mem::replace(&mut self.chunked, true);
        let known = value.eq_ignore_ascii_case(b"chunked") && version == Version::HTTP_11;
        if first && known { Ok(()) } else { Err(Refusal::TransferEncoding) }
    }
}

fn check_target(head: &RequestHead) -> Result<(), Refusal> {
    let target = head.full_target();
    let known_form = match head.authority() {
        Some(authority) => is_host(authority),
        None if target == b"*" => head.start.method == Method::OPTIONS,
        // The form of CONNECT, which has its own answer.
        None => target.starts_with(b"/") || head.start.method == Method::CONNECT,
    };
    // A fragment is never sent (RFC 9112 section 3.2); whoever reads one here ends the path at it or not.
    // Bytes beyond ASCII are not allowed either, but links that old pages hold have them, and servers take them.
    let visible = target.iter().all(|byte| (byte.is_ascii_graphic() || !byte.is_ascii()) && *byte != b'#');
    if known_form && visible && !target.is_empty() { Ok(()) } else { Err(Refusal::Target) }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, in the characters that such names have in practice.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let address = &rest[..end];
            if !address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)) {
                return false;
            }
            (address, &rest[end + 1..])
        }
        None => {
            let (name, port) = host.split_at(host.iter().position(|&b| b == b':').unwrap_or(host.len()));
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte)) {
                return false;
            }
            (name, port)
        }
    };
    let digits = port.strip_prefix(b":").unwrap_or_default();
    let is_port =
        digits.is_empty() || digits.len() <= 5 && number(digits).is_some_and(|port| port <= u16::MAX.into());
    !name.is_empty() && (port.is_empty() || port[0] == b':') && is_port
}

fn check_connection(value: &[u8]) -> Result<(), Refusal> {
    if elements(value).any(is_end_to_end) { Err(Refusal::Connection) } else { Ok(()) }
}

/// What no `Connection` header can take away, since others rely on it. Naming one there is an attempt
/// to do just that.
pub fn is_end_to_end(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    begins(name, b"x-forwarded")
        || ["host", "cookie", "authorization", "content-length", "forwarded"].into_iter().any(is)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn check_bytes(bytes: &[u8]) -> Result<Length, Refusal> {
        let head = RequestHead::parse(bytes::Bytes::copy_from_slice(bytes))?;
        let length = check(&head)?;
        check_host(&head).map(|()| length)
    }

    fn check_get(version: &str, target: &str, lines: &[&str]) -> Result<Length, Refusal> {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        check_bytes(format!("GET {target} HTTP/{version}\r\n{lines}\r\n").as_bytes())
    }

    #[test]
    fn requests_of_every_day_pass() {
        for (lines, length) in [
            (&["Host: example.org"][..], Length::NONE),
            (&["Host: example.org:8080", "Connection: keep-alive", "Content-Length: 0"], Length::NONE),
            (&["Host: [::1]:8080", "Transfer-Encoding: Chunked"], Length::Chunked),
            (&["Host: my_app.local.", "Expect: 100-Continue", "Connection: Upgrade, X-Own"], Length::NONE),
            (&["Host: a", "content-length: 12"], Length::Exactly(12)),
            (&["Host: a", "Cookie: name=\u{e4}"], Length::NONE),
        ] {
            assert_eq!(check_get("1.1", "/a?b", lines), Ok(length), "{lines:?}");
        }
        assert_eq!(check_get("1.0", "/", &[]), Ok(Length::NONE));
    }

    #[test]
    fn a_request_goes_to_one_host() {
        assert_eq!(check_get("1.1", "/", &[]), Err(Refusal::NoHost));
        assert_eq!(check_get("1.0", "/", &["Host: a", "Host: a"]), Err(Refusal::SeveralHosts));
        for host in [
            "a b", "a/b", "a@b", "a,b", "[::1", "[::1]x", "[g]", "a:b", "a:1:2", "a:123456", "a:65536",
            ":80", "ä", "",
        ] {
            let line = format!("Host: {host}");
            assert_eq!(check_get("1.1", "/", &[&line]), Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        for (lines, refusal) in [
            (&["Transfer-Encoding: gzip, chunked"][..], Refusal::TransferEncoding),
            (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], Refusal::TransferEncoding),
            (&["Transfer-Encoding: chunked, chunked"], Refusal::TransferEncoding),
            (&["Transfer-Encoding: identity"], Refusal::TransferEncoding),
            (&["Transfer-Encoding: \u{b}chunked"], Refusal::Head),
            (&["Transfer-Encoding: chunked", "Content-Length: 5"], Refusal::ContentLength),
            (&["Content-Length: 5", "Transfer-Encoding: chunked"], Refusal::ContentLength),
            (&["Content-Length: 5", "Content-Length: 5"], Refusal::ContentLength),
            (&["Content-Length: 5, 5"], Refusal::ContentLength),
            (&["Content-Length: +5"], Refusal::ContentLength),
            (&["Content-Length: 005"], Refusal::ContentLength),
            (&["Content-Length:"], Refusal::ContentLength),
            (&["Content-Length: 9223372036854775808"], Refusal::BodyTooLarge),
            (&["Content-Length: 99999999999999999999"], Refusal::BodyTooLarge),
            (&["Content-Length: 9999999999999999999x"], Refusal::ContentLength),
        ] {
            let lines = [&["Host: a"], lines].concat();
            assert_eq!(check_get("1.1", "/", &lines), Err(refusal), "{lines:?}");
        }
        let most = check_get("1.1", "/", &["Host: a", "Content-Length: 9223372036854775807"]);
        assert_eq!(most, Ok(Length::Exactly(i64::MAX as u64)));
        assert_eq!(Refusal::BodyTooLarge.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let refused = check_get("1.0", "/", &["Transfer-Encoding: chunked"]);
        assert_eq!(refused, Err(Refusal::TransferEncoding));
    }

    #[test]
    fn connection_names_only_what_is_for_one_hop() {
        for name in ["Host", "cookie", "AUTHORIZATION", "Content-Length", "X-Forwarded-For", "Forwarded"] {
            let line = format!("Connection: close, {name}");
            assert_eq!(check_get("1.1", "/", &["Host: a", &line]), Err(Refusal::Connection), "{name}");
        }
        let long = format!("Connection: X-Forwarded-{}", "x".repeat(100));
        assert_eq!(check_get("1.1", "/", &["Host: a", &long]), Err(Refusal::Connection));
    }

    #[test]
    fn other_expectations_fail() {
        let refused = check_get("1.1", "/", &["Host: a", "Expect: 100-continue", "Expect: x"]);

        assert_eq!(refused, Err(Refusal::Expectation));
        assert_eq!(Refusal::Expectation.status(), StatusCode::EXPECTATION_FAILED);
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for target in ["/", "//a/../b;c=%zz?d=e|f^[g]{<\">}`", "http://example.org/a", "http://example.org"] {
            assert!(check_get("1.1", target, &["Host: a"]).is_ok(), "{target}");
        }
        for target in [
            "*",
            "example.org:80",
            "ftp://example.org/",
            "http://a,b/",
            "/a#b",
            "/ä#b",
            "http:///a",
            "http://a@b/",
            "http://a::/",
        ] {
            let refused = check_get("1.1", target, &["Host: a"]).unwrap_err();
            assert!(matches!(refused, Refusal::Target | Refusal::Head), "{target}: {refused:?}");
        }
        assert_eq!(check_bytes(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Length::NONE));
    }

    #[test]
    fn bytes_beyond_ascii_pass_in_a_target_unless_somebody_wants_none() {
        for target in [&b"/\xc3\x9cbung.html"[..], b"/env.cgi?name=M\xfcller", b"/\x82\xa0\x80?\xff"] {
            let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let head = RequestHead::parse(bytes.into()).unwrap();

            assert_eq!(check(&head), Ok(Length::NONE));
            assert_eq!(head.full_target(), target);
            assert_eq!(head.values(Field::Host).next(), Some(&b"a"[..]));
            assert_eq!(check_escaped(&head), Err(Refusal::Target));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for (bytes, refusal) in [
            (&b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"[..], Refusal::Version),
            (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refusal::Version),
            (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Space),
            (b"GET /\xfc b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Space),
            (b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Head),
            (b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Head),
            (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Head),
            (b"GET /\r\nHost: a\r\n\r\n", Refusal::Head),
            (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refusal::Head),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refusal::Head),
        ] {
            let refused = check_bytes(bytes).unwrap_err();
            let text = String::from_utf8_lossy(bytes);
            assert!(
                refused == refusal || refused.status() == StatusCode::BAD_REQUEST,
                "{text:?}: {refused:?}"
            );
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(129));
        assert_eq!(check_bytes(many.as_bytes()), Err(Refusal::TooLarge));
    }
}
