//! A client's request on its way to the backend.

use http::{HeaderName, Method, Version};

use super::told::{Host, add_ours};
use super::{is_among, is_control, is_for_one_hop, means_websocket, named_by_connection};
use crate::http1::chunked::MAX_TRAILER_LINES;
use crate::http1::gate::is_end_to_end;
use crate::http1::{Field, Header, Length, Lines, RequestHead, begins, elements};
use crate::peer::Peer;
use crate::proxy::request_id::RequestId;
use crate::proxy::trailers::Announced;

/// A client's request as one of ours.
pub(in crate::proxy) struct Passed {
    /// The head, with the empty line at its end.
    pub(in crate::proxy) head: Vec<u8>,
    /// Whether it asks for a WebSocket.
    pub(in crate::proxy) websocket: bool,
    /// The trailers that are announced and may follow.
    pub(in crate::proxy) trailers: Announced,
}

/// Makes a client's request one of ours: the request line in origin form, as HTTP/1.1, without what
/// is not for the backend, and with what it is told. `own_host` stands in for a `Host` the client did
/// not send.
pub(in crate::proxy) fn pass_request(
    head: &RequestHead,
    length: Length,
    peer: &Peer,
    id: RequestId,
    own_host: &str,
) -> Passed {
    let websocket = asks_for_websocket(head, length);
    let mut lines = Lines::after(request_line(head));
    let host = Host::of(head, own_host);
    // The answer may become a stream of ours, and then nobody could decode the two in one.
    let plain = asks_for_events(head);
    let named = named_by_connection(head);
    host.say_ahead(&mut lines);
    for line in head.lines() {
        match line.field {
            Field::Host if host.is_said => {}
            Field::AcceptEncoding if plain => {}
            Field::Expect => {}
            _ if passes(line) && !is_among(&named, line.name) => lines.copy(line),
            _ => {}
        }
    }
    let mut trailers = Announced::new();
    if length == Length::Chunked {
        lines.add("Transfer-Encoding", b"chunked");
        trailers = announced_trailers(head);
        for name in &trailers {
            lines.add("Trailer", name.as_str().as_bytes());
        }
    }
    add_ours(&mut lines, host.name, peer, id, head.start.version);
    if websocket {
        lines.add("Connection", b"upgrade");
        lines.add("Upgrade", b"websocket");
    }
    Passed { head: lines.into_head(), websocket, trailers }
}

/// The lines of a request of our own on behalf of the client that sent `head`: its cookies, its
/// `Authorization` and the like, cleaned as [`Backend::forward`](crate::proxy::Backend::forward) does,
/// and what the backend is told of the client; nothing about a body, a range or a copy that it may hold.
pub(in crate::proxy) fn on_behalf_of(
    head: &RequestHead,
    peer: &Peer,
    id: RequestId,
    own_host: &str,
) -> Lines {
    const NOT_OURS: [&[u8]; 10] = [
        b"content-encoding",
        b"content-language",
        b"content-location",
        b"content-range",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
    ];
    let mut lines = Lines::with_capacity(head.size() + 256);
    let host = Host::of(head, own_host);
    let named = named_by_connection(head);
    host.say_ahead(&mut lines);
    for line in head.lines() {
        match line.field {
            Field::Host if host.is_said => {}
            Field::AcceptEncoding | Field::ContentLength | Field::ContentType | Field::Expect => {}
            Field::Other if is_among(&NOT_OURS, line.name) => {}
            _ if passes(line) && !is_among(&named, line.name) => lines.copy(line),
            _ => {}
        }
    }
    add_ours(&mut lines, host.name, peer, id, Version::HTTP_11);
    lines
}

/// Whether the client opens a WebSocket (RFC 6455 section 4.1).
fn asks_for_websocket(head: &RequestHead, length: Length) -> bool {
    let may_switch = head.start.version == Version::HTTP_11 && head.start.method == Method::GET;
    may_switch && length == Length::NONE && means_websocket(head)
}

/// Whether the client names a media type among those that it would take, in any case (RFC 9110 section 8.3.1).
pub fn accepts(head: &RequestHead, media_type: &str) -> bool {
    let media_type = media_type.as_bytes();
    let mut accepted = head.values(Field::Accept);
    accepted.any(|value| value.windows(media_type.len()).any(|part| part.eq_ignore_ascii_case(media_type)))
}

/// Whether the client would take an event stream.
pub fn asks_for_events(head: &RequestHead) -> bool {
    accepts(head, "text/event-stream")
}

fn request_line(head: &RequestHead) -> Vec<u8> {
    let mut line = Vec::with_capacity(head.size() + 320);
    line.extend_from_slice(head.start.method.as_str().as_bytes());
    line.push(b' ');
    for part in head.target().parts() {
        line.extend_from_slice(part);
    }
    line.extend_from_slice(b" HTTP/1.1\r\n");
    line
}

/// The trailers that are announced and may follow (RFC 9110 section 6.6.2).
fn announced_trailers(head: &RequestHead) -> Announced {
    let names = head.values(Field::Trailer).flat_map(elements);
    let may_pass = |name: &&[u8]| {
        let line = Header { field: Field::of(name), name, value: b"" };
        passes(line) && !is_end_to_end(name)
    };
    let names = names.filter(may_pass).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.take(MAX_TRAILER_LINES).collect()
}

/// Whether a client's line reaches the backend.
///
/// There are no trusted proxies yet. Once there are, what they say in `is_forwarding` stays.
fn passes(line: Header<'_>) -> bool {
    let Header { field, name, .. } = line;
    if field != Field::Other {
        return !is_for_one_hop(field, name);
    }
    let is_ours = match name.first().map(u8::to_ascii_lowercase) {
        Some(b'f' | b'v' | b'x') => is_forwarding(name),
        Some(b'p') => super::is_proxy(name),
        _ => is_control(name),
    };
    !is_ours && is_plain(name)
}

/// What a proxy says about whom it speaks for; a client could say anything there.
fn is_forwarding(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"forwarded", b"via", b"x-real-ip", b"x-request-id", b"x-original-uri"];
    begins(name, b"x-forwarded") || is_among(&NAMES, name)
}

/// CGI turns both `-` and `_` into `_`, so a name with anything but letters, digits and hyphens could
/// pass for another one behind us.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), local: "127.0.0.1:80".parse().unwrap() }
    }

    /// The lines of a head in lower case but for their values, sorted, without the first.
    fn sorted(head: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(head).unwrap();
        let line = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            format!("{}: {value}", name.to_ascii_lowercase())
        };
        let mut lines: Vec<_> =
            text.split_terminator("\r\n").filter(|line| line.contains(": ")).map(line).collect();
        lines.sort();
        lines
    }

    fn passed(target: &str, given: &[&str], length: Length) -> (String, Vec<String>, bool) {
        let head = request("1.1", target, given);
        let Passed { head, websocket, .. } =
            pass_request(&head, length, &peer("192.0.2.7:5000"), RequestId::generate(), "app:8080");
        let first = head.split(|&byte| byte == b'\r').next().unwrap();
        (String::from_utf8(first.to_vec()).unwrap(), sorted(&head), websocket)
    }

    /// What reached the backend of `given`, without what we add.
    fn left(given: &[&str]) -> Vec<String> {
        let ours = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
            "forwarded",
            "via",
            "outboard",
        ];
        let is_ours = |line: &String| ours.contains(&line.split(':').next().unwrap());
        passed("/", given, Length::NONE).1.into_iter().filter(|line| !is_ours(line)).collect()
    }

    #[test]
    fn the_backend_is_told_who_asks_for_what() {
        let head = request("1.1", "/", &["Host: example.org:8080", "Via: 1.1 forged"]);
        let id = RequestId::generate();

        let passed = pass_request(&head, Length::NONE, &peer("[2001:db8::1]:5000"), id, "app");

        assert_eq!(
            sorted(&passed.head),
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
        let (_, lines, _) = passed(
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
            Length::NONE,
        );

        let text = lines.join("\n");
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
    fn a_media_type_is_accepted_in_any_case_and_in_any_line() {
        let head = request("1.1", "/", &["Accept: image/png", "Accept: Text/HTML;q=0.9, */*"]);

        assert!(accepts(&head, "text/html"));
        assert!(!accepts(&head, "text/event-stream"));
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let (line, lines, _) = passed("http://user@example.org:81/a/../b?c", &["Host: other"], Length::NONE);

        assert_eq!(line, "GET /a/../b?c HTTP/1.1");
        for line in ["host: example.org:81", "x-forwarded-host: example.org:81"] {
            assert!(lines.iter().any(|other| other == line), "{line} in {lines:?}");
        }
        assert!(!lines.iter().any(|line| line == "host: other"));
    }

    #[test]
    fn a_client_without_a_host_gets_the_backends_own() {
        assert_eq!(left(&[]), ["host: app:8080"]);
    }

    #[test]
    fn a_chunked_body_stays_one_and_announces_only_trailers_that_pass() {
        let given =
            ["Host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum, Outboard-Channel", "Trailer: cookie"];

        let (_, lines, _) = passed("/", &given, Length::Chunked);

        let about: Vec<_> = lines.iter().filter(|line| line.starts_with("tra")).collect();
        assert_eq!(about, ["trailer: x-sum", "transfer-encoding: chunked"]);
    }

    #[test]
    fn a_websocket_is_asked_for_and_no_other_upgrade() {
        let given = ["Host: a", "Connection: Upgrade, X-A", "Upgrade: websocket", "X-A: 1"];
        let (_, websocket, asked) = passed("/", &given, Length::NONE);
        let (_, other, not_asked) = passed("/", &["Connection: upgrade", "Upgrade: h2c"], Length::NONE);

        assert!(asked && !not_asked);
        let about = |lines: &[String]| -> Vec<String> {
            let is_about =
                |line: &&String| ["connec", "upgrad", "x-a: "].iter().any(|start| line.starts_with(start));
            lines.iter().filter(is_about).cloned().collect()
        };
        assert_eq!(about(&websocket), ["connection: upgrade", "upgrade: websocket"]);
        assert_eq!(about(&other), [""; 0]);
    }

    #[test]
    fn our_own_request_is_the_clients_but_for_its_body_and_its_conditions() {
        let given = request(
            "1.1",
            "/",
            &[
                "Host: a",
                "Cookie: session=1",
                "Authorization: Bearer x",
                "Accept-Language: de",
                "Content-Type: text/plain",
                "Content-Length: 5",
                "Expect: 100-continue",
                "If-None-Match: \"1\"",
                "Range: bytes=0-1",
                "Connection: close",
                "Outboard-Subject: root",
            ],
        );

        let ours = on_behalf_of(&given, &peer("192.0.2.7:5000"), RequestId::generate(), "app");

        let ours = sorted(ours.as_bytes());
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
