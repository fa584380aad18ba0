//! Where the backend listens, as operators write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::Authority;

/// The port of `http://` when none is written.
const HTTP_PORT: u16 = 80;

/// Where the backend listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// `http://host:port`.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Why a text is not a backend's address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAddress {
    /// Neither `http://` nor `unix:` stands in front.
    #[error("`{0}` is not a backend's address: write `http://HOST:PORT` or `unix:/PATH`")]
    Scheme(String),
    /// TLS towards the backend does not exist yet.
    #[error("`{0}`: this version does not speak https to the backend; use `http://` or `unix:`")]
    Https(String),
    /// No valid host stands in it.
    #[error("`{0}` names no valid host: write `http://HOST:PORT`, as in `http://127.0.0.1:8080`")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("the port in `{0}` is not a number from 1 to 65535")]
    Port(String),
    /// A user name or a password stands in it.
    #[error("`{0}` holds a user name, which a backend's address cannot have")]
    User(String),
    /// There is a path behind the host.
    #[error(
        "`{url}` ends in `{path}`, and a backend's address cannot have a path, for paths are passed on untouched: write `{instead}`"
    )]
    Path {
        /// All of it.
        url: String,
        /// The part too many.
        path: String,
        /// The address without it.
        instead: String,
    },
    /// The socket's path is relative or empty.
    #[error("`{0}` is not an absolute path: write `unix:/PATH`, as in `unix:/run/app.sock`")]
    SocketPath(String),
}

impl Address {
    /// What the `Host` header says to this backend if the client said nothing.
    pub(super) fn host_header(&self) -> String {
        match self {
            Self::Tcp { host, port } if *port == HTTP_PORT => bracketed(host),
            Self::Tcp { host, port } => format!("{}:{port}", bracketed(host)),
            Self::Unix(_) => "localhost".into(),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = strip_scheme(url, "unix:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                path if path.starts_with('/') && path.len() > 1 => Ok(Self::Unix(path.into())),
                _ => Err(InvalidAddress::SocketPath(url.into())),
            };
        }
        if strip_scheme(url, "https://").is_some() {
            return Err(InvalidAddress::Https(url.into()));
        }
        let rest = strip_scheme(url, "http://").ok_or_else(|| InvalidAddress::Scheme(url.into()))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(InvalidAddress::Path {
                url: url.into(),
                path: path.into(),
                instead: format!("http://{authority}"),
            });
        }
        parse_authority(url, authority)
    }
}

fn parse_authority(url: &str, text: &str) -> Result<Address, InvalidAddress> {
    if text.contains('@') {
        return Err(InvalidAddress::User(url.into()));
    }
    let authority: Authority = text.parse().map_err(|_| InvalidAddress::Host(url.into()))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(InvalidAddress::Host(url.into()));
    }
    let port = match text[authority.host().len()..].strip_prefix(':') {
        None => HTTP_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(InvalidAddress::Port(url.into())),
        },
    };
    Ok(Address::Tcp { host: host.into(), port })
}

fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = url.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.into() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "http://{}:{port}", bracketed(host)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn a_backend_is_a_host_and_a_port_or_a_socket() {
        for (url, address) in [
            ("http://127.0.0.1:8080", tcp("127.0.0.1", 8080)),
            ("http://app", tcp("app", 80)),
            ("HTTP://App.example.org/", tcp("App.example.org", 80)),
            ("http://[::1]:8080", tcp("::1", 8080)),
            ("http://[::1]", tcp("::1", 80)),
            ("unix:/run/app.sock", Address::Unix("/run/app.sock".into())),
            ("unix:///run/app.sock", Address::Unix("/run/app.sock".into())),
        ] {
            assert_eq!(url.parse(), Ok(address), "{url}");
        }
    }

    #[test]
    fn an_address_is_shown_as_it_would_be_written() {
        for url in ["http://127.0.0.1:8080", "http://[::1]:80", "unix:/run/app.sock"] {
            assert_eq!(url.parse::<Address>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn what_cannot_be_a_backend_says_what_to_write() {
        for (url, part) in [
            ("127.0.0.1:8080", "write `http://HOST:PORT`"),
            ("", "write `http://HOST:PORT`"),
            ("https://app", "does not speak https"),
            ("http://", "names no valid host"),
            ("http://:80", "names no valid host"),
            ("http://a b", "names no valid host"),
            ("http://app:", "the port in"),
            ("http://app:0", "the port in"),
            ("http://app:65536", "the port in"),
            ("http://user:secret@app", "a user name"),
            ("http://app/site", "cannot have a path, for paths are passed on untouched: write `http://app`"),
            ("http://app?x", "cannot have a path"),
            ("unix:", "not an absolute path"),
            ("unix:run/app.sock", "not an absolute path"),
        ] {
            let problem = url.parse::<Address>().unwrap_err().to_string();
            assert!(problem.contains(part), "{url}: {problem}");
        }
    }

    #[test]
    fn a_client_without_a_host_asks_for_the_backends_own() {
        for (url, host) in [
            ("http://app:8080", "app:8080"),
            ("http://app", "app"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("unix:/run/app.sock", "localhost"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().host_header(), host);
        }
    }
}
