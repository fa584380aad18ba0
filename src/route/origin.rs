//! Where a page is from, as browsers say it (RFC 6454 section 6.2).

/// A scheme, a host and perhaps a port, as in `https://app.example`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidOrigin {
    /// Everybody's pages could read what a client's cookies open.
    #[error("`*` would let the pages of everybody read with their visitors' cookies; list the origins")]
    Any,
    /// It is something else.
    #[error("expected a scheme and a host such as \"https://app.example\", without a path, not {0:?}")]
    Other(String),
}

impl Origin {
    /// Reads one as an operator writes it, be it with the scheme's own port or in upper case.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Err(InvalidOrigin::Any);
        }
        let other = || InvalidOrigin::Other(text.into());
        let lower = text.to_ascii_lowercase();
        let (scheme, host) = lower.split_once("://").ok_or_else(other)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if !matches!(scheme, "http" | "https") || host.is_empty() || !host.bytes().all(is_host) {
            return Err(other());
        }
        Ok(Self(format!("{scheme}://{}", without_port(scheme, host))))
    }

    /// Whether a browser means it by this.
    pub fn is(&self, said: &[u8]) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(said)
    }
}

/// Whether what a browser says of a page's origin names this host, which is written as in `Host`.
pub fn is_of_host(said: &[u8], host: &[u8]) -> bool {
    let (Ok(said), Ok(host)) = (std::str::from_utf8(said), std::str::from_utf8(host)) else { return false };
    let (said, host) = (said.to_ascii_lowercase(), host.to_ascii_lowercase());
    said.split_once("://").is_some_and(|(scheme, of)| without_port(scheme, of) == without_port(scheme, &host))
}

/// A host without the port that its scheme means anyway.
fn without_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_however_it_is_written() {
        for (text, said) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert!(Origin::parse(text).unwrap().is(said.as_bytes()), "{text}");
        }
        let one = Origin::parse("https://app.example").unwrap();
        for other in
            ["http://app.example", "https://app.example:8443", "https://app.example.evil", "null", ""]
        {
            assert!(!one.is(other.as_bytes()), "{other}");
        }
        for text in
            ["*", "null", "", "app.example", "https://", "https://app.example/", "https://a b", "ftp://a"]
        {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_of_a_host_whatever_port_goes_without_saying() {
        for (said, host, expected) in [
            ("https://app.example", "app.example", true),
            ("https://app.example", "App.Example:443", true),
            ("http://app.example:8000", "app.example:8000", true),
            ("http://app.example:8000", "app.example", false),
            ("https://evil.example", "app.example", false),
            ("null", "null", false),
        ] {
            assert_eq!(is_of_host(said.as_bytes(), host.as_bytes()), expected, "{said} {host}");
        }
    }
}
