//! Who is let in, by which door.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Method;

use super::problem::Problem;
use crate::event::frame::Code;
use crate::http1::{Field, RequestHead, begins, strip_start};

/// The way a request came in.
#[derive(Clone, Debug)]
pub enum Door {
    /// By the publish socket, whose file says who may use it.
    Socket,
    /// By a TCP listener.
    Tcp(Tcp),
}

/// What a TCP listener asks for.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// The address of ours that the connection came to.
    pub local: SocketAddr,
    /// What changes things needs this, if it is set.
    pub token: Option<Arc<str>>,
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
            Self::Tcp(tcp) => tcp.admit(head),
        }
    }
}

impl Tcp {
    fn admit(&self, head: &RequestHead) -> Result<(), Problem> {
        if let Some(token) = &self.token {
            if bears(head, token) {
                // Whoever knows the token is no page with a rebound name, whatever `Host` says.
                return Ok(());
            }
            if !matches!(head.start.method, Method::GET | Method::HEAD | Method::OPTIONS) {
                return Err(Problem::Unauthorized);
            }
        }
        let target = head.authority();
        let hosts = head.values(Field::Host);
        match hosts.chain(target).find(|host| !self.is_ours(host)) {
            None => Ok(()),
            Some(host) => Err(foreign(host)),
        }
    }

    /// Whether `host` is a name that nobody else can have pointed at us.
    fn is_ours(&self, host: &[u8]) -> bool {
        let Some(name) = without_port(host) else { return false };
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        // An IPv6 address is written in brackets, and nothing else is (RFC 3986 section 3.2.2).
        let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(literal) => literal.parse().map(IpAddr::V6),
            None => name.parse().map(IpAddr::V4),
        };
        address.is_ok_and(|address| {
            address.is_loopback() || address.to_canonical() == self.local.ip().to_canonical()
        })
    }
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
        "`Host: {}` is not an address of this listener: use its address or localhost, or send the token",
        host.escape_debug()
    );
    Problem::refused(Code::Forbidden, text)
}

/// The header by which a browser says that a page made it ask, in lower case.
fn sign_of_a_browser(head: &RequestHead) -> Option<String> {
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
        admitted(&tcp(None), &format!("GET {target}"), &[&format!("Host: {host}")])
    }

    fn tcp(token: Option<&str>) -> Door {
        Door::Tcp(Tcp { local: "10.1.2.3:8001".parse().unwrap(), token: token.map(Into::into) })
    }

    #[test]
    fn what_a_web_page_makes_a_browser_send_is_refused_at_every_door() {
        for door in [Door::Socket, tcp(None), tcp(Some("secret"))] {
            for header in ["Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"] {
                let lines = [&format!("{header}: null"), "Authorization: Bearer secret"];
                assert_eq!(admitted(&door, "GET /channels", &lines), Err(403), "{header}");
            }
        }
    }

    #[test]
    fn on_tcp_the_host_is_an_address_of_ours() {
        for host in ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]:8001", "10.1.2.3", "10.1.2.3:80"]
        {
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
        assert_eq!(admitted(&tcp(None), "GET /", &[]), Ok(()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn on_the_socket_any_host_will_do() {
        assert_eq!(admitted(&Door::Socket, "POST /channels/a", &["Host: whatever"]), Ok(()));
    }

    #[test]
    fn what_changes_things_needs_the_token() {
        let door = tcp(Some("secret"));
        let post = |given: &str| {
            let line = format!("Authorization: {given}");
            admitted(&door, "POST /channels/a", &["Host: localhost", &line])
        };

        assert_eq!(admitted(&door, "POST /channels/a", &["Host: localhost"]), Err(401));
        assert_eq!(post("Bearer wrong!"), Err(401));
        assert_eq!(post("Bearer secret2"), Err(401));
        assert_eq!(post("Basic secret"), Err(401));
        assert_eq!(post("bearer secret"), Ok(()));
        assert_eq!(admitted(&door, "GET /channels", &["Host: localhost"]), Ok(()));
    }

    #[test]
    fn who_knows_the_token_may_use_any_name() {
        let lines = ["Host: outboard:8001", "Authorization: Bearer secret"];

        assert_eq!(admitted(&tcp(Some("secret")), "GET /channels", &lines), Ok(()));
    }
}
