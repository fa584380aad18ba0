//! Who is let in, by which door.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use super::problem::Problem;
use super::resource::Resource;
use crate::event::frame::Code;
use crate::http1::{Field, RequestHead, begins, strip_start};

/// The way a request came in.
#[derive(Clone, Debug)]
pub enum Door {
    /// By the publish socket, whose file says who may use it.
    Socket,
    /// By a TCP listener; all but the two health pages needs this token, if there is one.
    Tcp(Option<Arc<str>>),
}

impl Door {
    /// Its word for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Socket => "the publish socket",
            Self::Tcp(_) => "the admin listener",
        }
    }

    /// Lets `head` in, or says why not.
    pub(super) fn admit(&self, head: &RequestHead) -> Result<(), Problem> {
        if let Some(header) = sign_of_a_browser(head) {
            let text = format!(
                "a request with `{header}` comes from a web page, and web pages may not use this API"
            );
            return Err(Problem::refused(Code::Forbidden, text));
        }
        match self {
            Self::Socket => Ok(()),
            // Whoever knows the token is no page with a rebound name, whatever `Host` says.
            Self::Tcp(Some(token)) if bears(head, token) || is_health(head) => Ok(()),
            Self::Tcp(Some(_)) => Err(Problem::Unauthorized),
            Self::Tcp(None) => {
                let mut hosts = head.values(Field::Host).chain(head.authority());
                hosts.try_for_each(check_host)
            }
        }
    }
}

/// Whether it asks whether outboard lives or is ready: load balancers do, and know no token.
fn is_health(head: &RequestHead) -> bool {
    let is_health = |resource| matches!(resource, Resource::Alive | Resource::Ready);
    head.start.method == Method::GET && Resource::of(head.path()).is_ok_and(is_health)
}

/// Refuses a name that somebody else can have pointed at this machine.
fn check_host(host: &[u8]) -> Result<(), Problem> {
    if is_loopback(host) { Ok(()) } else { Err(foreign(host)) }
}

fn is_loopback(host: &[u8]) -> bool {
    let Some(name) = without_port(host) else { return false };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    // An IPv6 address is written in brackets, and nothing else is (RFC 3986 section 3.2.2).
    let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(literal) => literal.parse().map(IpAddr::V6),
        None => name.parse().map(IpAddr::V4),
    };
    address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The name in `host` or `host:port`; `None` if it is neither.
fn without_port(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    // The last colon of `[v6]` alone is within the brackets, and no port follows it.
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            port.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
        }
        _ => Some(host),
    }
}

fn foreign(host: &[u8]) -> Problem {
    let host: String = String::from_utf8_lossy(host).chars().take(80).collect();
    let text = format!(
        "`Host: {}` could be a name that a web page has pointed at this machine: use 127.0.0.1 or localhost, or set \
         a `token` in [admin] and send it",
        host.escape_debug()
    );
    Problem::refused(Code::Forbidden, text)
}

/// The header by which a browser says that a page made it ask, in lower case. What is read by a page of our
/// own, or by a person who typed the address, is no such request (Fetch Metadata, section 2.3).
fn sign_of_a_browser(head: &RequestHead) -> Option<String> {
    let is_own = |site: &[u8]| site == b"none" || site == b"same-origin";
    let mut sites = head.named("sec-fetch-site").peekable();
    if head.start.method == Method::GET && sites.peek().is_some() && sites.all(is_own) {
        return None;
    }
    let mut names = head.lines().map(|line| line.name);
    let sign = names.find(|name| name.eq_ignore_ascii_case(b"origin") || begins(name, b"sec-fetch-"))?;
    Some(String::from_utf8_lossy(sign).to_ascii_lowercase())
}

/// Whether the request brings `token` (RFC 6750 section 2.1).
fn bears(head: &RequestHead, token: &str) -> bool {
    let given = head.named("authorization").next().unwrap_or_default();
    strip_start(given, b"Bearer ").is_some_and(|given| equal(given.trim_ascii(), token.as_bytes()))
}

/// Takes the same time wherever two texts of one length differ, so that nobody can guess a token
/// byte by byte.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    a.len() == b.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a request with this first line, but for its version, and these lines.
    fn admitted(door: &Door, request: &str, lines: &[&str]) -> Result<(), u16> {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let head = RequestHead::parse(format!("{request} HTTP/1.1\r\n{lines}\r\n").into()).unwrap();
        door.admit(&head).map_err(|problem| problem.status().as_u16())
    }

    fn with_host(host: &str, target: &str) -> Result<(), u16> {
        admitted(&Door::Tcp(None), &format!("GET {target}"), &[&format!("Host: {host}")])
    }

    fn secret() -> Door {
        Door::Tcp(Some("secret".into()))
    }

    #[test]
    fn what_a_web_page_makes_a_browser_send_is_refused_at_every_door() {
        for door in [Door::Socket, Door::Tcp(None), secret()] {
            for header in [
                "Origin: null",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Site: same-site",
                "Sec-Fetch-Mode: cors",
            ] {
                let lines = [header, "Authorization: Bearer secret"];
                assert_eq!(admitted(&door, "GET /channels", &lines), Err(403), "{header}");
            }
        }
    }

    #[test]
    fn what_a_person_types_or_our_own_page_reads_is_not() {
        for site in ["none", "same-origin"] {
            let site = format!("Sec-Fetch-Site: {site}");
            let lines = [&site, "Sec-Fetch-Mode: navigate", "Host: localhost"];

            assert_eq!(admitted(&Door::Tcp(None), "GET /channels", &lines), Ok(()), "{site}");
            assert_eq!(admitted(&Door::Tcp(None), "POST /channels/a", &lines), Err(403), "{site}");
            assert_eq!(admitted(&Door::Tcp(None), "DELETE /channels/a", &lines), Err(403), "{site}");
            let twice = [&site, "Sec-Fetch-Site: cross-site", "Host: localhost"];
            assert_eq!(admitted(&Door::Tcp(None), "GET /channels", &twice), Err(403), "{site}");
        }
    }

    #[test]
    fn without_a_token_the_host_is_this_machine() {
        for host in ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "127.1.2.3", "[::1]:8001"] {
            assert_eq!(with_host(host, "/"), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.1.2.4",
            "",
            "127.0.0.1.nip.io:8001",
            "a b",
            "localhost:x",
            "localhost:80:80",
            "[::1",
            "::1:80",
        ] {
            assert_eq!(with_host(host, "/"), Err(403), "{host}");
        }
        assert_eq!(with_host("localhost", "http://evil.example/"), Err(403));
        assert_eq!(admitted(&Door::Tcp(None), "GET /", &[]), Ok(()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn on_the_socket_any_host_will_do() {
        assert_eq!(admitted(&Door::Socket, "POST /channels/a", &["Host: whatever"]), Ok(()));
    }

    #[test]
    fn the_token_is_asked_of_everybody_for_everything_but_health() {
        for request in [
            "POST /channels/a",
            "GET /channels",
            "GET /channels/a/events",
            "GET /metrics",
            "GET /",
            "OPTIONS *",
        ] {
            let given = |given: &str| {
                let line = format!("Authorization: {given}");
                admitted(&secret(), request, &["Host: localhost", &line])
            };

            assert_eq!(admitted(&secret(), request, &["Host: localhost"]), Err(401), "{request}");
            for wrong in ["Bearer wrong!", "Bearer secret2", "Bearer secre", "Basic secret", "Bearer ", ""] {
                assert_eq!(given(wrong), Err(401), "{request} {wrong}");
            }
            assert_eq!(given("bearer secret"), Ok(()), "{request}");
        }
        for request in ["GET /healthz", "GET /readyz"] {
            assert_eq!(admitted(&secret(), request, &["Host: 10.1.2.3"]), Ok(()), "{request}");
        }
        assert_eq!(admitted(&secret(), "GET /healthz/../channels", &[]), Err(401));
        assert_eq!(admitted(&secret(), "POST /healthz", &[]), Err(401));
    }

    #[test]
    fn who_knows_the_token_may_use_any_name() {
        let lines = ["Host: outboard:8001", "Authorization: Bearer secret"];

        assert_eq!(admitted(&secret(), "GET /channels", &lines), Ok(()));
    }
}
