//! Where the backend listens, as operators write it.

use std::fmt;
use std::path::PathBuf;

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
    fn an_address_is_shown_as_it_would_be_written() {
        for (address, url) in [
            (tcp("127.0.0.1", 8080), "http://127.0.0.1:8080"),
            (tcp("::1", 80), "http://[::1]:80"),
            (Address::Unix("/run/app.sock".into()), "unix:/run/app.sock"),
        ] {
            assert_eq!(address.to_string(), url);
        }
    }

    #[test]
    fn a_client_without_a_host_asks_for_the_backends_own() {
        for (address, host) in [
            (tcp("app", 8080), "app:8080"),
            (tcp("app", 80), "app"),
            (tcp("::1", 8080), "[::1]:8080"),
            (Address::Unix("/run/app.sock".into()), "localhost"),
        ] {
            assert_eq!(address.host_header(), host);
        }
    }
}
