//! Who is let in, by which door.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::problem::Problem;
use crate::event::frame::Code;

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
    /// Lets `head` in, or says why not.
    pub(super) fn admit(&self, head: &Parts) -> Result<(), Problem> {
        if let Some(header) = sign_of_a_browser(&head.headers) {
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
    fn admit(&self, head: &Parts) -> Result<(), Problem> {
        if let Some(token) = &self.token {
            if bears(&head.headers, token) {
                // Whoever knows the token is no page with a rebound name, whatever `Host` says.
                return Ok(());
            }
            if !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
                return Err(Problem::Unauthorized);
            }
        }
        let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let hosts = head.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes);
        match hosts.chain(target).find(|host| !self.is_ours(host)) {
            None => Ok(()),
            Some(host) => Err(foreign(host)),
        }
    }

    /// Whether `host` is a name that nobody else can have pointed at us.
    fn is_ours(&self, host: &[u8]) -> bool {
        let Ok(authority) = Authority::try_from(host) else { return false };
        let host = authority.host();
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        literal.parse().is_ok_and(|address: IpAddr| {
            address.is_loopback() || address.to_canonical() == self.local.ip().to_canonical()
        })
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

fn sign_of_a_browser(headers: &HeaderMap) -> Option<&str> {
    headers
        .keys()
        .map(http::HeaderName::as_str)
        .find(|name| *name == ORIGIN.as_str() || name.starts_with("sec-fetch-"))
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], http::HeaderValue::as_bytes);
    let is_bearer = given.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
    is_bearer && equal(given[7..].trim_ascii(), token.as_bytes())
}

/// Takes the same time wherever two texts of one length differ, so that nobody can guess a token
/// byte by byte.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    a.len() == b.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(door: &Door, request: http::request::Builder) -> Result<(), u16> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        door.admit(&head).map_err(|problem| problem.status().as_u16())
    }

    fn tcp(token: Option<&str>) -> Door {
        Door::Tcp(Tcp { local: "10.1.2.3:8001".parse().unwrap(), token: token.map(Into::into) })
    }

    #[test]
    fn what_a_web_page_makes_a_browser_send_is_refused_at_every_door() {
        for door in [Door::Socket, tcp(None), tcp(Some("secret"))] {
            for header in ["Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"] {
                let request =
                    Request::get("/channels").header(header, "null").header("Authorization", "Bearer secret");
                assert_eq!(admitted(&door, request), Err(403), "{header}");
            }
        }
    }

    #[test]
    fn on_tcp_the_host_is_an_address_of_ours() {
        for host in ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]:8001", "10.1.2.3", "10.1.2.3:80"]
        {
            assert_eq!(admitted(&tcp(None), Request::get("/").header("Host", host)), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.1.2.4", "", "127.0.0.1.nip.io:8001", "a b"]
        {
            assert_eq!(admitted(&tcp(None), Request::get("/").header("Host", host)), Err(403), "{host}");
        }
        assert_eq!(
            admitted(&tcp(None), Request::get("http://evil.example/").header("Host", "localhost")),
            Err(403)
        );
        assert_eq!(admitted(&tcp(None), Request::get("/")), Ok(()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn on_the_socket_any_host_will_do() {
        assert_eq!(admitted(&Door::Socket, Request::post("/channels/a").header("Host", "whatever")), Ok(()));
    }

    #[test]
    fn what_changes_things_needs_the_token() {
        let door = tcp(Some("secret"));
        let post = || Request::post("/channels/a").header("Host", "localhost");

        assert_eq!(admitted(&door, post()), Err(401));
        assert_eq!(admitted(&door, post().header("Authorization", "Bearer wrong!")), Err(401));
        assert_eq!(admitted(&door, post().header("Authorization", "Bearer secret2")), Err(401));
        assert_eq!(admitted(&door, post().header("Authorization", "Basic secret")), Err(401));
        assert_eq!(admitted(&door, post().header("Authorization", "bearer secret")), Ok(()));
        assert_eq!(admitted(&door, Request::get("/channels").header("Host", "localhost")), Ok(()));
    }

    #[test]
    fn who_knows_the_token_may_use_any_name() {
        let request = Request::get("/channels")
            .header("Host", "outboard:8001")
            .header("Authorization", "Bearer secret");

        assert_eq!(admitted(&tcp(Some("secret")), request), Ok(()));
    }
}
