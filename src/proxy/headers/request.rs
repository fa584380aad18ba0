//! A client's request on its way to the backend.

use std::io::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Version};

use super::{
    Names, add_via, announce_trailers, ask_websocket, is_control, is_hop_by_hop, means_websocket,
    named_by_connection, trailers_of,
};
use crate::peer::Peer;
use crate::proxy::request_id::RequestId;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OUTBOARD: HeaderName = HeaderName::from_static("outboard");

/// Makes a client's request one of ours: the request line in origin form, as HTTP/1.1, without what
/// is not for the backend, and with what it is told. `own_host` stands in for a `Host` the client did
/// not send. Whether the request asks for a WebSocket.
pub(crate) fn pass_request<B: http_body::Body>(
    request: &mut Request<B>,
    peer: &Peer,
    id: RequestId,
    own_host: &HeaderValue,
) -> bool {
    own_target(request);
    let received = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let has_body = !request.body().is_end_stream();
    let websocket = received == Version::HTTP_11
        && *request.method() == Method::GET
        && !has_body
        && means_websocket(request.headers());

    let headers = request.headers_mut();
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let trailers = trailers_of(headers);
    if asks_for_events(headers) {
        // The answer may become a stream of ours, and then nobody could decode the two in one.
        headers.remove(header::ACCEPT_ENCODING);
    }
    clean(headers);
    headers.remove(header::EXPECT);
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, own_host.clone());
    }
    if chunked && has_body {
        // Said outright, for hyper would send a GET without its body otherwise.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        announce_trailers(headers, &trailers, passes);
    }
    add_ours(headers, peer, id, received);
    if websocket {
        ask_websocket(headers);
    }
    websocket
}

/// The headers of a request of our own on behalf of the client that sent `headers`: its cookies, its
/// `Authorization` and the like, cleaned as [`Backend::forward`](crate::proxy::Backend::forward) does,
/// and what the backend is told of the client; nothing about a body, a range or a copy that it may hold.
pub fn on_behalf_of(headers: &HeaderMap, peer: &Peer, id: RequestId) -> HeaderMap {
    const NOT_OURS: [HeaderName; 14] = [
        header::ACCEPT_ENCODING,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_LOCATION,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::RANGE,
    ];
    let mut ours = headers.clone();
    clean(&mut ours);
    for name in NOT_OURS {
        ours.remove(name);
    }
    add_ours(&mut ours, peer, id, Version::HTTP_11);
    ours
}

/// Whether the client would take an event stream.
pub fn asks_for_events(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.as_bytes().windows(TYPE.len()).any(|part| part.eq_ignore_ascii_case(TYPE)))
}

/// Brings a target in absolute form (`GET http://host/path`) into origin form; its host replaces that
/// of the `Host` header (RFC 9112 section 3.2.2).
pub fn own_target<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else { return };
    // A user name is for the server that asks for one, not for a Host header.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::from_str(host);
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Ok(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Takes out whatever does not pass, and what `Connection` names.
fn clean(headers: &mut HeaderMap) {
    let mut gone: Names = named_by_connection(headers);
    gone.extend(headers.keys().filter(|name| !passes(name.as_str())).cloned());
    for name in gone {
        headers.remove(name);
    }
}

/// Whether a client's header of this name, in lower case, reaches the backend.
///
/// There are no trusted proxies yet. Once there are, what they say in `is_forwarding` stays.
fn passes(name: &str) -> bool {
    !is_hop_by_hop(name) && !is_control(name) && !is_forwarding(name) && is_plain(name)
}

/// What a proxy says about whom it speaks for; a client could say anything there.
fn is_forwarding(name: &str) -> bool {
    matches!(name, "forwarded" | "via" | "x-real-ip" | "x-request-id" | "x-original-uri")
        || name.starts_with("x-forwarded")
}

/// CGI turns both `-` and `_` into `_`, so a name with anything but letters, digits and hyphens could
/// pass for another one behind us.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Adds what the backend is told about the client and us (PROTOCOL 5).
fn add_ours(headers: &mut HeaderMap, peer: &Peer, id: RequestId, received: Version) {
    let host = headers.get(header::HOST).cloned();
    let ip = peer.address.ip().to_canonical();

    // One text for all three values, so that it is one allocation.
    let mut text = Vec::with_capacity(160);
    // Writing to a Vec does not fail.
    let _ = write!(text, "{ip}");
    let client = text.len();
    write_forwarded(&mut text, ip, host.as_ref());
    let forwarded = text.len();
    text.extend_from_slice(&id.text());

    let text = Bytes::from(text);
    let mut add = |name, value: Bytes| {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    };
    add(FORWARDED_FOR, text.slice(..client));
    add(header::FORWARDED, text.slice(client..forwarded));
    add(REQUEST_ID, text.slice(forwarded..));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(OUTBOARD, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    add_via(headers, received);
}

/// Writes the value of `Forwarded` (RFC 7239 section 4): whatever is no token stands in quotes.
fn write_forwarded(text: &mut Vec<u8>, ip: IpAddr, host: Option<&HeaderValue>) {
    let _ = match ip {
        IpAddr::V4(ip) => write!(text, "for={ip}"),
        IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\""),
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    match host.map(HeaderValue::as_bytes) {
        None => {}
        Some(host) if host.iter().all(is_token) => {
            text.extend_from_slice(b";host=");
            text.extend_from_slice(host);
        }
        Some(host) => {
            text.extend_from_slice(b";host=\"");
            for &byte in host {
                if matches!(byte, b'"' | b'\\') {
                    text.push(b'\\');
                }
                text.push(byte);
            }
            text.push(b'"');
        }
    }
    text.extend_from_slice(b";proto=http");
}

#[cfg(test)]
mod tests {
    use super::super::tests::{headers, lines};
    use super::*;
    use crate::body::Body;

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), local: "127.0.0.1:80".parse().unwrap() }
    }

    fn passed(target: &str, given: &[&str], body: Body) -> (Request<Body>, bool) {
        let mut request = Request::new(body);
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = headers(given);
        let own_host = HeaderValue::from_static("app:8080");
        let websocket = pass_request(&mut request, &peer("192.0.2.7:5000"), RequestId::generate(), &own_host);
        (request, websocket)
    }

    /// What reached the backend of `given`, without what we add.
    fn left(given: &[&str]) -> Vec<String> {
        let mut headers = passed("/", given, Body::empty()).0.into_parts().0.headers;
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"] {
            headers.remove(name);
        }
        for name in ["forwarded", "via", "outboard"] {
            headers.remove(name);
        }
        lines(&headers)
    }

    #[test]
    fn the_backend_is_told_who_asks_for_what() {
        let mut request = Request::new(Body::empty());
        *request.headers_mut() = headers(&["Host: example.org:8080", "Via: 1.1 forged"]);
        let id = RequestId::generate();

        pass_request(&mut request, &peer("[2001:db8::1]:5000"), id, &HeaderValue::from_static("app"));

        assert_eq!(
            lines(request.headers()),
            [
                r#"forwarded: for="[2001:db8::1]";host="example.org:8080";proto=http"#.to_owned(),
                "host: example.org:8080".into(),
                format!("outboard: {}", env!("CARGO_PKG_VERSION")),
                "via: 1.1 outboard".into(),
                "x-forwarded-for: 2001:db8::1".into(),
                "x-forwarded-host: example.org:8080".into(),
                "x-forwarded-proto: http".into(),
                format!("x-request-id: {id}"),
            ]
        );
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_has_an_ipv4_address() {
        let mut map = headers(&["Host: a"]);

        add_ours(&mut map, &peer("[::ffff:192.0.2.7]:5000"), RequestId::generate(), Version::HTTP_10);

        assert_eq!(map["x-forwarded-for"], "192.0.2.7");
        assert_eq!(map["forwarded"], "for=192.0.2.7;host=a;proto=http");
        assert_eq!(map["via"], "1.0 outboard");
    }

    #[test]
    fn what_is_meant_for_one_hop_ends_here() {
        let left = left(&[
            "Host: a",
            "Connection: close, X-Private",
            "Connection: keep-alive, x-other",
            "X-Private: 1",
            "X-Other: 2",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eDp5",
            "TE: trailers",
            "Trailer: X-Sum",
            "Upgrade: h2c",
            "X-Stays: 3",
        ]);

        assert_eq!(left, ["host: a", "x-stays: 3"]);
    }

    #[test]
    fn connection_cannot_take_away_what_others_rely_on() {
        let left =
            left(&["Host: a", "Connection: cookie, host, authorization", "Cookie: b", "Authorization: c"]);

        assert_eq!(left, ["authorization: c", "cookie: b", "host: a"]);
    }

    #[test]
    fn a_client_cannot_say_what_is_ours_to_say() {
        let request = passed(
            "/",
            &[
                "Host: a",
                "X-Forwarded-For: 10.0.0.1",
                "X-Forwarded-Port: 1",
                "X-Forwarded-User: root",
                "Forwarded: for=10.0.0.1",
                "X-Real-IP: 10.0.0.1",
                "X-Request-Id: 1",
                "X-Original-URI: /admin",
                "Outboard: 9",
                "Outboard-Channel: news",
                "Grip-Sig: x",
            ],
            Body::empty(),
        );

        let text = lines(request.0.headers()).join("\n");
        for lie in
            ["10.0.0.1", "port", "user", "admin", "outboard: 9", "channel", "grip", "real-ip", "id: 1\n"]
        {
            assert!(!text.contains(lie), "{lie} in {text}");
        }
    }

    #[test]
    fn names_that_cgi_would_confuse_end_here() {
        let left = left(&[
            "Host: a",
            "X_Forwarded_For: 10.0.0.1",
            "Proxy: http://evil",
            "X.Y: 1",
            "A!b: 2",
            "X-1: 3",
        ]);

        assert_eq!(left, ["host: a", "x-1: 3"]);
    }

    #[test]
    fn an_answer_that_may_become_a_stream_is_not_compressed() {
        let stream = left(&["Host: a", "Accept: text/html, Text/Event-Stream", "Accept-Encoding: gzip"]);
        let page = left(&["Host: a", "Accept: text/html", "Accept-Encoding: gzip"]);

        assert_eq!(stream, ["accept: text/html, Text/Event-Stream", "host: a"]);
        assert_eq!(page, ["accept-encoding: gzip", "accept: text/html", "host: a"]);
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let (request, _) = passed("http://user@example.org:81/a/../b?c", &["Host: other"], Body::empty());

        assert_eq!(request.uri(), "/a/../b?c");
        assert_eq!(request.headers()["host"], "example.org:81");
        assert_eq!(request.headers()["x-forwarded-host"], "example.org:81");
    }

    #[test]
    fn a_client_without_a_host_gets_the_backends_own() {
        assert_eq!(left(&[]), ["host: app:8080"]);
    }

    #[test]
    fn a_chunked_body_stays_one_and_announces_only_trailers_that_pass() {
        let given =
            ["Host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum, Outboard-Channel", "Trailer: cookie"];

        let (request, _) = passed("/", &given, Body::from("x"));

        assert_eq!(request.headers()["transfer-encoding"], "chunked");
        assert_eq!(request.headers().get_all("trailer").iter().collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn a_websocket_is_asked_for_and_no_other_upgrade() {
        let (websocket, asked) = passed(
            "/",
            &["Host: a", "Connection: Upgrade, X-A", "Upgrade: websocket", "X-A: 1"],
            Body::empty(),
        );
        let (other, not_asked) = passed("/", &["Connection: upgrade", "Upgrade: h2c"], Body::empty());

        assert!(asked && !not_asked);
        assert_eq!(websocket.headers()["connection"], "upgrade");
        assert_eq!(websocket.headers()["upgrade"], "websocket");
        assert!(!websocket.headers().contains_key("x-a"));
        assert!(!other.headers().contains_key("connection") && !other.headers().contains_key("upgrade"));
    }

    #[test]
    fn our_own_request_is_the_clients_but_for_its_body_and_its_conditions() {
        let given = headers(&[
            "Host: a",
            "Cookie: session=1",
            "Authorization: Bearer x",
            "Accept-Language: de",
            "Content-Type: text/plain",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "If-None-Match: \"1\"",
            "Range: bytes=0-1",
            "Connection: close",
            "Outboard-Subject: root",
        ]);

        let ours = on_behalf_of(&given, &peer("192.0.2.7:5000"), RequestId::generate());

        let ours = lines(&ours);
        assert_eq!(
            ours[..4],
            [
                "accept-language: de",
                "authorization: Bearer x",
                "cookie: session=1",
                "forwarded: for=192.0.2.7;host=a;proto=http"
            ]
        );
        assert_eq!(ours.len(), 11, "{ours:?}");
    }
}
