//! Where something listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Written;
use crate::listen::Entrance;
use crate::listen::unix::{Place, Purpose};
use crate::peer::TrustedPeer;
use crate::proxy::{Address, PassedName};

impl Written for SocketAddr {
    const EXPECTED: &'static str = "an address and a port such as \"0.0.0.0:8000\" or \"[::]:8000\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}, not {text:?}", Self::EXPECTED))
    }
}

impl Written for Entrance {
    const EXPECTED: &'static str = "an address and a port such as \"0.0.0.0:8000\", or a socket such as \"unix:/run/outboard/http.sock\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| format!("expected {}, not {text:?}", Self::EXPECTED));
        };
        socket_path(text, path).map(|path| {
            // Mode and group are those of the publish socket, which `resolve` knows.
            Self::Unix(Place { path, mode: 0o660, group: None, purpose: Purpose::Clients })
        })
    }
}

/// The path of a socket, which `text` names as `unix:PATH`.
fn socket_path(text: &str, path: &str) -> Result<PathBuf, String> {
    match path.starts_with('/') && !path.starts_with("//") && !path.contains('\0') {
        true => Ok(path.into()),
        false => Err(format!(
            "after `unix:` comes the socket's whole path, as in \"unix:/run/app.sock\", not {text:?}"
        )),
    }
}

impl Written for TrustedPeer {
    const EXPECTED: &'static str =
        "an address or a network such as \"127.0.0.1\" or \"10.0.0.0/8\", or \"unix\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}, not {text:?}", Self::EXPECTED))
    }
}

impl Written for PassedName {
    const EXPECTED: &'static str = "the name of a header such as \"X_Api_Key\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Written for PathBuf {
    const EXPECTED: &'static str = "a path such as \"/run/outboard/publish.sock\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("expected {}, not {text:?}", Self::EXPECTED));
        }
        Ok(Self::from(text))
    }
}

impl Written for Address {
    const EXPECTED: &'static str = "an address such as \"http://127.0.0.1:8080\" or \"unix:/run/app.sock\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(text, path).map(Self::Unix);
        }
        if text.starts_with("https:") {
            return Err("https backends are not in this version; use http:// or unix:".into());
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(format!("expected {}, not {text:?}", Self::EXPECTED));
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(format!(
                "{text:?} has a path; requests go to the backend under the path they came with, so write only host and port"
            ));
        }
        let wrong = || format!("expected {}, not {text:?}", Self::EXPECTED);
        let address: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let host = address.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.strip_prefix(address.host()).ok_or_else(wrong)? {
            "" => 80,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.into(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_host_or_a_socket() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.into(), port });

        assert_eq!(Address::from_text("http://127.0.0.1:8080"), tcp("127.0.0.1", 8080));
        assert_eq!(Address::from_text("http://app.local/"), tcp("app.local", 80));
        assert_eq!(Address::from_text("http://[::1]:8080"), tcp("::1", 8080));
        assert_eq!(Address::from_text("unix:/run/app.sock"), Ok(Address::Unix("/run/app.sock".into())));
        for text in [
            "",
            "127.0.0.1:8080",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://a/b",
            "http://a?b",
            "http://user@a",
            "http://a b",
            "https://a",
            "ftp://a",
            "unix:app.sock",
            "unix://run/app.sock",
        ] {
            assert!(Address::from_text(text).is_err(), "{text}");
        }
    }
}
