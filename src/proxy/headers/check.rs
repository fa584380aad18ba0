//! What a request must be before anybody acts on it: readable in one way only.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Version};

use super::{elements, is_end_to_end};

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// HTTP/1.1 asks for a `Host` (RFC 9112 section 3.2).
    #[error("the request has no Host header")]
    NoHost,
    /// Several hosts, of which different servers would pick different ones.
    #[error("the request has several Host headers")]
    SeveralHosts,
    /// Not a host and a port.
    #[error("the Host header is not a host name or an address, with or without a port")]
    Host,
    /// Neither a path, nor a URL, nor the `*` of `OPTIONS`; or with bytes that must be escaped.
    #[error("the request's target is not a path or a URL in visible ASCII")]
    Target,
    /// Only `chunked`, and only in HTTP/1.1 (RFC 9112 section 6.1).
    #[error("the only transfer coding taken is `chunked`, once, in HTTP/1.1")]
    TransferEncoding,
    /// Repeated, together with a transfer coding, or not a number.
    #[error("the Content-Length is not one plain number")]
    ContentLength,
    /// `Connection` names a header that is not for one hop.
    #[error("the Connection header names a header that is not for one hop only")]
    Connection,
    /// An expectation besides `100-continue` (RFC 9110 section 10.1.1).
    #[error("the only expectation met is `100-continue`")]
    Expectation,
}

impl Refusal {
    /// What the client is told.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::NoHost | Self::SeveralHosts | Self::Host => StatusCode::BAD_REQUEST,
            Self::Target | Self::TransferEncoding | Self::ContentLength => StatusCode::BAD_REQUEST,
            Self::Connection => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request's head, as hyper has parsed it, before it is routed, authorized or passed on.
///
/// # Errors
/// When a server behind us could understand the request otherwise than we do.
pub fn check_request<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    check_target(request)?;
    check_host(headers, request.version())?;
    check_length(headers, request.version())?;
    check_connection(headers)?;
    check_expectation(headers)
}

fn check_target<B>(request: &Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    let known_form = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            is_host(host.as_bytes())
        }
        (None, None) if uri.path() == "*" => request.method() == Method::OPTIONS,
        (None, None) => uri.path().starts_with('/'),
        // The form of CONNECT, which has its own answer.
        (None, Some(_)) => request.method() == Method::CONNECT,
        (Some(_), _) => false,
    };
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let visible = target.bytes().all(|byte| byte.is_ascii_graphic());
    if known_form && visible { Ok(()) } else { Err(Refusal::Target) }
}

fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return if version == Version::HTTP_10 { Ok(()) } else { Err(Refusal::NoHost) };
    };
    if hosts.next().is_some() {
        return Err(Refusal::SeveralHosts);
    }
    if is_host(host.as_bytes()) { Ok(()) } else { Err(Refusal::Host) }
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
    let is_port = port.is_empty() || port[0] == b':' && digits.len() <= 5;
    !name.is_empty() && is_port && digits.iter().all(u8::is_ascii_digit)
}

fn check_length(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || version != Version::HTTP_11 {
            return Err(Refusal::TransferEncoding);
        }
        return if length.is_none() { Ok(()) } else { Err(Refusal::ContentLength) };
    }
    let plain = |length: &HeaderValue| {
        let digits = length.as_bytes();
        let padded = digits.starts_with(b"0") && digits.len() > 1;
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && !padded
    };
    if lengths.next().is_some() || length.is_some_and(|length| !plain(length)) {
        return Err(Refusal::ContentLength);
    }
    Ok(())
}

fn check_connection(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut names = headers.get_all(header::CONNECTION).iter().flat_map(|value| elements(value.as_bytes()));
    let mut lower = [0; 32];
    let stripping = names.any(|name| {
        // No name that must stay is longer; of the longer ones only the beginning matters.
        let size = name.len().min(lower.len());
        lower[..size].copy_from_slice(&name[..size]);
        lower[..size].make_ascii_lowercase();
        std::str::from_utf8(&lower[..size]).is_ok_and(is_end_to_end)
    });
    if stripping { Err(Refusal::Connection) } else { Ok(()) }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    let met = expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::Expectation) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::headers;
    use super::*;

    fn check(version: Version, target: &str, lines: &[&str]) -> Result<(), Refusal> {
        let mut request = Request::new(());
        *request.uri_mut() = target.parse().unwrap();
        *request.version_mut() = version;
        *request.headers_mut() = headers(lines);
        check_request(&request)
    }

    #[test]
    fn requests_of_every_day_pass() {
        for lines in [
            &["Host: example.org"][..],
            &["Host: example.org:8080", "Connection: keep-alive", "Content-Length: 0"],
            &["Host: [::1]:8080", "Transfer-Encoding: Chunked"],
            &["Host: my_app.local.", "Expect: 100-Continue", "Connection: Upgrade, X-Private"],
        ] {
            assert_eq!(check(Version::HTTP_11, "/a?b", lines), Ok(()), "{lines:?}");
        }
        assert_eq!(check(Version::HTTP_10, "/", &[]), Ok(()));
    }

    #[test]
    fn a_request_goes_to_one_host() {
        assert_eq!(check(Version::HTTP_11, "/", &[]), Err(Refusal::NoHost));
        assert_eq!(check(Version::HTTP_10, "/", &["Host: a", "Host: a"]), Err(Refusal::SeveralHosts));
        for host in
            ["a b", "a/b", "a@b", "a,b", "[::1", "[::1]x", "[g]", "a:b", "a:1:2", "a:123456", ":80", "ä"]
        {
            let mut request = Request::new(());
            request.headers_mut().insert("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
            assert_eq!(check_request(&request), Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        for (lines, refusal) in [
            (&["Transfer-Encoding: gzip, chunked"][..], Refusal::TransferEncoding),
            (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], Refusal::TransferEncoding),
            (&["Transfer-Encoding: identity"], Refusal::TransferEncoding),
            (&["Transfer-Encoding: chunked", "Content-Length: 5"], Refusal::ContentLength),
            (&["Content-Length: 5", "Content-Length: 5"], Refusal::ContentLength),
            (&["Content-Length: 5, 5"], Refusal::ContentLength),
            (&["Content-Length: +5"], Refusal::ContentLength),
            (&["Content-Length: 005"], Refusal::ContentLength),
        ] {
            let lines = [&["Host: a"], lines].concat();
            assert_eq!(check(Version::HTTP_11, "/", &lines), Err(refusal), "{lines:?}");
        }
        let refused = check(Version::HTTP_10, "/", &["Transfer-Encoding: chunked"]);
        assert_eq!(refused, Err(Refusal::TransferEncoding));
    }

    #[test]
    fn connection_names_only_what_is_for_one_hop() {
        for name in ["Host", "cookie", "AUTHORIZATION", "Content-Length", "X-Forwarded-For", "Forwarded"] {
            let line = format!("Connection: close, {name}");
            assert_eq!(check(Version::HTTP_11, "/", &["Host: a", &line]), Err(Refusal::Connection), "{name}");
        }
        let long = format!("Connection: X-Forwarded-{}", "x".repeat(100));
        assert_eq!(check(Version::HTTP_11, "/", &["Host: a", &long]), Err(Refusal::Connection));
    }

    #[test]
    fn other_expectations_fail() {
        let refused = check(Version::HTTP_11, "/", &["Host: a", "Expect: 100-continue", "Expect: x"]);

        assert_eq!(refused, Err(Refusal::Expectation));
        assert_eq!(Refusal::Expectation.status(), StatusCode::EXPECTATION_FAILED);
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for target in ["/", "//a/../b;c=%zz?d=e|f^[g]", "http://example.org/a", "http://example.org"] {
            assert_eq!(check(Version::HTTP_11, target, &["Host: a"]), Ok(()), "{target}");
        }
        for target in ["*", "example.org:80", "ftp://example.org/", "http://a,b/", "/ä"] {
            assert_eq!(check(Version::HTTP_11, target, &["Host: a"]), Err(Refusal::Target), "{target}");
        }
        let mut options = Request::new(());
        *options.method_mut() = Method::OPTIONS;
        *options.uri_mut() = "*".parse().unwrap();
        options.headers_mut().insert("host", HeaderValue::from_static("a"));
        assert_eq!(check_request(&options), Ok(()));
    }
}
