//! A client's request on its way to the backend.

use http::{HeaderName, Method, Version};

use super::names::Forwarding;
use super::notices::Withheld;
use super::rules::Rules;
use super::said::Said;
use super::ties::is_of_connection;
use super::told::{Host, Told, add_ours};
use super::{is_among, is_control, is_for_one_hop, means_websocket, named_by_connection};
use crate::http1::chunked::MAX_TRAILER_LINES;
use crate::http1::gate::is_end_to_end;
use crate::http1::{Field, Header, Length, Lines, RequestHead, elements, essence, strip_start};
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
    /// What did not pass, and may be worth a line in the log.
    pub(in crate::proxy) withheld: Withheld,
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
    rules: &Rules,
) -> Passed {
    let websocket = asks_for_websocket(head, length);
    let mut lines = Lines::after(request_line(head));
    let host = Host::of(head, own_host);
    // The answer may become a stream of ours, and then nobody could decode the two in one.
    let plain = accepts(head, EVENT_STREAM);
    let named = named_by_connection(head);
    let said = Said::of(head, peer, &rules.trusted);
    let mut withheld = Withheld::default();
    let hops = head.max_forwards();
    host.say_ahead(&mut lines);
    for line in head.lines() {
        match line.field {
            Field::Host if host.is_said => {}
            Field::AcceptEncoding if plain => {}
            Field::Expect => {}
            Field::MaxForwards if hops.is_some() => {}
            _ => match verdict(line, said.is_some(), rules) {
                Verdict::Passes if is_among(&named, line.name) => {}
                Verdict::Passes | Verdict::IsSaid => lines.copy(line),
                Verdict::Ends => {}
                Verdict::Speaks => withheld.speech = true,
                Verdict::IsOdd => withheld.odd_name = true,
            },
        }
    }
    if let Some(hops) = hops {
        // The gateway answers those of which none is left.
        lines.put("Max-Forwards", itoa::Buffer::new().format(hops.saturating_sub(1)).as_bytes());
    }
    let mut trailers = Announced::new();
    if length == Length::Chunked {
        lines.add("Transfer-Encoding", b"chunked");
        trailers = announced_trailers(head, rules);
        for name in &trailers {
            lines.add("Trailer", name.as_str().as_bytes());
        }
    }
    // It came in chunks, and its length was found out; a client that gives one itself has said it above.
    if let Length::Exactly(length) = length
        && head.has(Field::TransferEncoding)
    {
        lines.add("Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
    let told = Told { peer, id, received: head.start.version, said: said.as_ref() };
    add_ours(&mut lines, host.name, &told, rules);
    if websocket {
        // Spelt as browsers do: some servers compare it byte by byte.
        lines.add("Connection", b"Upgrade");
        head.values(Field::Upgrade).for_each(|value| lines.add("Upgrade", value));
    }
    Passed { head: lines.into_head(), websocket, trailers, withheld }
}

/// The lines of a request of our own on behalf of the client that sent `head`: its cookies, its
/// `Authorization` and the like, cleaned as [`Backend::forward`](crate::proxy::Backend::forward) does,
/// and what the backend is told of the client; nothing about a body, a range or a copy that it may hold.
pub(in crate::proxy) fn on_behalf_of(
    head: &RequestHead,
    peer: &Peer,
    id: RequestId,
    own_host: &str,
    rules: &Rules,
    ties: bool,
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
    let said = Said::of(head, peer, &rules.trusted);
    host.say_ahead(&mut lines);
    for line in head.lines() {
        match line.field {
            Field::Host if host.is_said => {}
            Field::AcceptEncoding | Field::ContentLength | Field::ContentType | Field::Expect => {}
            Field::Other if is_among(&NOT_OURS, line.name) => {}
            Field::Authorization if !ties && is_of_connection(line.value) => {}
            _ => match verdict(line, said.is_some(), rules) {
                Verdict::Passes if is_among(&named, line.name) => {}
                // Which path was asked for at first is ours to say in such a request.
                Verdict::IsSaid if Forwarding::of(line.name) == Some(Forwarding::OriginalUri) => {}
                Verdict::Passes | Verdict::IsSaid => lines.copy(line),
                Verdict::Ends | Verdict::Speaks | Verdict::IsOdd => {}
            },
        }
    }
    let told = Told { peer, id, received: Version::HTTP_11, said: said.as_ref() };
    add_ours(&mut lines, host.name, &told, rules);
    lines
}

/// Whether the client opens a WebSocket (RFC 6455 section 4.1).
fn asks_for_websocket(head: &RequestHead, length: Length) -> bool {
    let may_switch = head.start.version == Version::HTTP_11 && head.start.method == Method::GET;
    may_switch && length == Length::NONE && means_websocket(head)
}

/// Whether the client would take this media type, which is in lower case (RFC 9110 section 12.5.1): it names it,
/// and not with a weight of zero.
pub fn accepts(head: &RequestHead, media_type: &str) -> bool {
    let mut ranges = head.values(Field::Accept).flat_map(elements);
    ranges.any(|range| is_taken(range, media_type))
}

/// Whether it is an `EventSource`, or asks as one does: a GET without a body whose `Accept` names exactly one
/// type, `text/event-stream` (PROTOCOL 1).
pub fn is_event_source(head: &RequestHead, length: Length) -> bool {
    let mut ranges = head.values(Field::Accept).flat_map(elements);
    head.start.method == Method::GET
        && length == Length::NONE
        && ranges.next().is_some_and(|range| is_taken(range, EVENT_STREAM))
        && ranges.next().is_none()
}

/// The type of event streams.
pub const EVENT_STREAM: &str = "text/event-stream";

fn is_taken(range: &[u8], media_type: &str) -> bool {
    let mut parameters = range.split(|&byte| byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let is_zero = |weight: &[u8]| {
        let text = std::str::from_utf8(weight).unwrap_or_default();
        text.trim().parse() == Ok(0.0)
    };
    essence(range).eq_ignore_ascii_case(media_type.as_bytes())
        && !parameters.any(|parameter| strip_start(parameter, b"q=").is_some_and(is_zero))
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
fn announced_trailers(head: &RequestHead, rules: &Rules) -> Announced {
    let names = head.values(Field::Trailer).flat_map(elements);
    let may_pass = |name: &&[u8]| {
        let line = Header { field: Field::of(name), name, value: b"" };
        verdict(line, false, rules) == Verdict::Passes && !is_end_to_end(name)
    };
    let names = names.filter(may_pass).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.take(MAX_TRAILER_LINES).collect()
}

/// What becomes of a client's line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It reaches the backend.
    Passes,
    /// It does, for a trusted proxy says it.
    IsSaid,
    /// It is meant for one hop, or ours to say.
    Ends,
    /// It says for whom somebody speaks who is not trusted.
    Speaks,
    /// A CGI program could take it for another one.
    IsOdd,
}

fn verdict(line: Header<'_>, is_trusted: bool, rules: &Rules) -> Verdict {
    let Header { field, name, .. } = line;
    if field != Field::Other {
        return if is_for_one_hop(field, name) { Verdict::Ends } else { Verdict::Passes };
    }
    match Forwarding::of(name) {
        // They are gathered, and said by us with what is to be appended.
        Some(Forwarding::For | Forwarding::Forwarded | Forwarding::RequestId) if is_trusted => Verdict::Ends,
        Some(_) if is_trusted => Verdict::IsSaid,
        Some(speech) if speech.tells_of_a_proxy() => Verdict::Speaks,
        Some(_) => Verdict::Ends,
        None if super::is_proxy(name) || is_control(name) => Verdict::Ends,
        None if !rules.lets_pass(name) => Verdict::IsOdd,
        None => Verdict::Passes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::plain(address.parse::<std::net::SocketAddr>().unwrap().into(), crate::peer::Endpoint::Unix)
    }

    fn trusting(list: &[&str]) -> Rules {
        let trusted = list.iter().map(|text| text.parse::<crate::peer::TrustedPeer>().unwrap()).collect();
        Rules { trusted, ..Rules::default() }
    }

    /// The lines that a peer's request has at the backend.
    fn passed_by(peer: &Peer, given: &[&str], rules: &Rules) -> (Vec<String>, Withheld) {
        let head = request("1.1", "/", given);
        let id = RequestId::of(&head, peer, rules);
        let Passed { head, withheld, .. } = pass_request(&head, Length::NONE, peer, id, "app", rules);
        (sorted(&head), withheld)
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
        let Passed { head, websocket, .. } = pass_request(
            &head,
            length,
            &peer("192.0.2.7:5000"),
            RequestId::generate(),
            "app:8080",
            &Rules::default(),
        );
        let first = head.split(|&byte| byte == b'\r').next().unwrap();
        (String::from_utf8(first.to_vec()).unwrap(), sorted(&head), websocket)
    }

    /// What reached the backend of `given`, without what we add.
    fn left(given: &[&str]) -> Vec<String> {
        let ours = ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "outboard"];
        let is_ours = |line: &String| ours.contains(&line.split(':').next().unwrap());
        passed("/", given, Length::NONE).1.into_iter().filter(|line| !is_ours(line)).collect()
    }

    #[test]
    fn the_backend_is_told_who_asks_for_what() {
        let head = request("1.1", "/", &["Host: example.org:8080", "Via: 1.1 forged"]);
        let id = RequestId::generate();

        let rules = Rules { forwarded: true, via: true, ..Rules::default() };
        let passed = pass_request(&head, Length::NONE, &peer("[2001:db8::1]:5000"), id, "app", &rules);

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
    fn every_spelling_of_the_clients_address_ends_here_and_is_noticed() {
        let peer = peer("192.0.2.7:5000");
        for line in [
            "X-Real-IP: 6.6.6.6",
            "CF-Connecting-IP: 6.6.6.6",
            "True-Client-IP: 6.6.6.6",
            "X-Client-IP: 6.6.6.6",
            "Front-End-Https: 6.6.6.6",
            "X-Original-URL: 6.6.6.6",
        ] {
            let (lines, withheld) = passed_by(&peer, &["Host: a", line], &Rules::default());

            assert!(!lines.iter().any(|line| line.contains("6.6.6.6")), "{lines:?}");
            assert!(withheld.speech && !withheld.odd_name, "{line}");
        }
        let (_, withheld) =
            passed_by(&peer, &["Host: a", "X-Request-Id: 1", "Via: 1.1 a"], &Rules::default());
        assert!(!withheld.is_something());
    }

    #[test]
    fn what_a_trusted_proxy_says_reaches_the_backend() {
        let given = [
            "Host: a",
            "X-Forwarded-For: 192.0.2.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 443",
            "X-Forwarded-Host: www.example.org",
            "X-Real-IP: 192.0.2.7",
            "X-Request-Id: its-own-1",
            "traceparent: 00-1-2-01",
            "Connection: X-Real-IP",
            "Outboard-Channel: news",
            "Proxy: http://evil",
        ];

        let (lines, withheld) = passed_by(&peer("10.0.0.1:5000"), &given, &trusting(&["10.0.0.0/8"]));

        assert_eq!(
            lines,
            [
                "host: a".to_owned(),
                format!("outboard: {}", env!("CARGO_PKG_VERSION")),
                "traceparent: 00-1-2-01".into(),
                "x-forwarded-for: 192.0.2.7, 10.0.0.1".into(),
                "x-forwarded-host: www.example.org".into(),
                "x-forwarded-port: 443".into(),
                "x-forwarded-proto: https".into(),
                "x-real-ip: 192.0.2.7".into(),
                "x-request-id: its-own-1".into(),
            ]
        );
        assert!(!withheld.is_something());
    }

    #[test]
    fn four_lines_are_ours_whatever_the_client_sends() {
        let (lines, _) = passed_by(&peer("192.0.2.7:5000"), &["Host: a"], &Rules::default());

        assert_eq!(lines.len(), 1 + 4, "{lines:?}");
    }

    #[test]
    fn an_odd_name_passes_if_the_operator_says_so_and_is_noticed_otherwise() {
        let rules = Rules {
            pass_headers: vec![crate::proxy::PassedName::parse("X_Api_Key").unwrap()],
            ..Rules::default()
        };

        let (lines, withheld) =
            passed_by(&peer("192.0.2.7:1"), &["Host: a", "x_api_key: 1", "X.Other: 2"], &rules);

        assert!(lines.contains(&"x_api_key: 1".into()) && !lines.iter().any(|line| line.contains("other")));
        assert!(withheld.odd_name);
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
    fn an_event_source_asks_for_an_event_stream_and_nothing_else() {
        for (lines, expected) in [
            (&["Accept: text/event-stream"][..], true),
            (&["Accept: Text/Event-Stream; q=0.5"], true),
            (&["Accept: text/event-stream;charset=utf-8"], true),
            (&["Accept: text/event-stream;q=0"], false),
            (&["Accept: text/event-stream; Q=0.000"], false),
            (&["Accept: application/json, text/event-stream"], false),
            (&["Accept: text/event-stream, */*"], false),
            (&["Accept: text/event-stream", "Accept: text/html"], false),
            (&["Accept: text/event-streams"], false),
            (&["Accept: */*"], false),
            (&[], false),
        ] {
            let head = request("1.1", "/", lines);

            assert_eq!(is_event_source(&head, Length::NONE), expected, "{lines:?}");
            assert!(!is_event_source(&head, Length::Exactly(1)) && !is_event_source(&head, Length::Chunked));
        }
        let post = RequestHead::parse("POST / HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n".into()).unwrap();
        assert!(!is_event_source(&post, Length::NONE));
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        for (target, host) in [
            ("http://example.org:81/a/../b?c", "host: example.org:81"),
            ("http://example.org:/a/../b?c", "host: example.org"),
        ] {
            let (line, lines, _) = passed(target, &["Host: other"], Length::NONE);

            assert_eq!(line, "GET /a/../b?c HTTP/1.1");
            assert!(lines.iter().any(|line| line == host), "{lines:?}");
            assert!(!lines.iter().any(|line| line == "host: other"));
        }
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
        let given = ["Host: a", "Connection: Upgrade, X-A", "Upgrade: WebSocket", "X-A: 1"];
        let (_, websocket, asked) = passed("/", &given, Length::NONE);
        let (_, other, not_asked) = passed("/", &["Connection: upgrade", "Upgrade: h2c"], Length::NONE);

        assert!(asked && !not_asked);
        let about = |lines: &[String]| -> Vec<String> {
            let is_about =
                |line: &&String| ["connec", "upgrad", "x-a: "].iter().any(|start| line.starts_with(start));
            lines.iter().filter(is_about).cloned().collect()
        };
        assert_eq!(about(&websocket), ["connection: Upgrade", "upgrade: WebSocket"]);
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

        let ours = on_behalf_of(
            &given,
            &peer("192.0.2.7:5000"),
            RequestId::generate(),
            "app",
            &Rules::default(),
            true,
        );

        let ours = sorted(ours.as_bytes());
        assert_eq!(
            ours[..4],
            ["accept-language: de", "authorization: Bearer x", "cookie: session=1", "host: a"]
        );
        assert_eq!(ours.len(), 8, "{ours:?}");
    }
}
