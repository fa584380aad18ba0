//! What passes, and what becomes of it on the way.

use outboard::proxy::{Rules, Settings};

use super::support::*;

/// Sends `request`, has the backend answer with `answer` and close, and returns what each of them read.
async fn exchange(request: &str, answer: &str) -> (String, String) {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(request).await;
    let (mut backend, head) = script.request().await;
    backend.say(answer).await;
    drop(backend);
    drop(script);
    (head, client.rest().await.0)
}

#[tokio::test]
async fn a_request_and_its_answer_pass_with_their_names_as_they_were_written() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("GET /a%2Fb/../c//d?x=%zz HTTP/1.1\r\nHost: Example.org\r\nX-ODD-name: 1\r\n\r\n").await;
    let (mut backend, request) = script.request().await;
    backend.say("HTTP/1.1 200 Fine\r\nETag: \"1\"\r\nX-oDD: 2\r\nContent-Length: 5\r\n\r\nhello").await;
    let answer = client.head().await;
    let body = client.read(5).await;

    let expected = "GET /a%2Fb/../c//d?x=%zz HTTP/1.1\r\nHost: Example.org\r\nX-ODD-name: 1\r\n";
    assert!(request.starts_with(expected), "{request}");
    assert!(request.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{request}");
    let expected = "HTTP/1.1 200 Fine\r\nETag: \"1\"\r\nX-oDD: 2\r\n";
    assert!(answer.starts_with(expected), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 5\r\n"), "{answer}");
    assert!(!request.contains("\r\nVia:") && !answer.contains("\r\nVia:"), "{request}{answer}");
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn via_is_said_both_ways_to_those_who_want_it() {
    let mut script = Script::new().await;
    let rules = Rules { via: true, ..Rules::default() };
    let proxy = Proxy::with(Settings { rules, ..settings(script.address) }).await;
    let mut client = proxy.client().await;

    client.say("GET / HTTP/1.0\r\n\r\n").await;
    let (mut backend, request) = script.request().await;
    backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    let answer = client.head().await;

    assert!(request.contains("\r\nVia: 1.0 outboard\r\n"), "{request}");
    assert!(answer.contains("\r\nVia: 1.1 outboard\r\n"), "{answer}");
}

#[tokio::test]
async fn every_byte_of_a_target_passes_as_it_is() {
    for target in [
        "/",
        "//",
        "//a//b/",
        "/./a/../b/..",
        "/%zz%",
        "/%00%0a",
        "/a;b=c,d:e@f!$&'()*+",
        "/|^[]\\\"{}",
        "/?",
        "/??a=b?c",
        "/?|^[]\\`{}",
        "/~user/%7Euser",
    ] {
        let (request, _) = exchange(
            &format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .await;

        assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {request}");
    }
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path_and_its_host_the_host() {
    let (request, _) = exchange(
        "GET http://example.org:81/a?b HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    )
    .await;

    assert!(request.starts_with("GET /a?b HTTP/1.1\r\nHost: example.org:81\r\n"), "{request}");
}

#[tokio::test]
async fn bytes_beyond_ascii_pass_in_a_target_as_they_came_unless_the_operator_wants_none() {
    for target in [&b"/\xc3\x9cbung.html"[..], b"/env.cgi?name=M\xfcller", b"/\x82\xa0?\xff=%FF"] {
        let mut script = Script::new().await;
        let proxy = Proxy::before(script.address).await;
        let mut client = proxy.client().await;
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        client.say_bytes(&request).await;
        let mut backend = script.connection().await;
        let mut line = Vec::new();
        soon(tokio::io::AsyncBufReadExt::read_until(&mut backend.stream, b'\n', &mut line)).await.unwrap();
        assert_eq!(line, [b"GET ", target, b" HTTP/1.1\r\n"].concat());

        let rules = Rules { raw_targets: false, ..Rules::default() };
        let strict = Proxy::with(Settings { rules, ..settings(script.address) }).await;
        let mut client = strict.client().await;
        client.say_bytes(&request).await;
        let answer = client.head().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn the_proxies_that_options_may_still_pass_are_counted() {
    for (method, given, passed) in [("OPTIONS", "7", "6"), ("OPTIONS", "x", "x"), ("GET", "7", "7")] {
        let (request, _) = exchange(
            &format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {given}\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .await;

        assert!(request.contains(&format!("\r\nMax-Forwards: {passed}\r\n")), "{method} {given}: {request}");
    }
}

#[tokio::test]
async fn the_star_of_options_stays_one() {
    let (request, answer) = exchange(
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n",
    )
    .await;

    assert!(request.starts_with("OPTIONS * HTTP/1.1\r\n"), "{request}");
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
}

#[tokio::test]
async fn the_options_of_a_site_as_a_whole_are_asked_for_with_a_star() {
    for (target, expected) in
        [("http://a", "*"), ("http://a/", "/"), ("http://a?b", "/?b"), ("http://a/b", "/b")]
    {
        let (request, _) = exchange(
            &format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .await;

        assert!(request.starts_with(&format!("OPTIONS {expected} HTTP/1.1\r\n")), "{target}: {request}");
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let (request, answer) = exchange(
        "GET / HTTP/1.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;

    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nHost: 127.0.0.1:"), "{request}");
    // The version that we speak, as Apache and nginx answer too (RFC 9110 section 2.5).
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    assert_eq!(body_of(&answer), "hello");
}

#[tokio::test]
async fn an_http_1_0_backend_answers_until_it_closes() {
    let (_, answer) = exchange(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello",
    )
    .await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nServer: old\r\n"), "{answer}");
    assert_eq!(body_of(&answer), "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_head_request_learns_the_length_and_gets_no_body() {
    let (request, answer) = exchange(
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    )
    .await;

    assert!(request.starts_with("HEAD / HTTP/1.1\r\n"), "{request}");
    assert!(answer.contains("\r\nContent-Length: 1000\r\n"), "{answer}");
    assert_eq!(body_of(&answer), "");
}

#[tokio::test]
async fn an_answer_without_a_body_has_none() {
    for status in ["204 No Content", "304 Not Modified"] {
        let (_, answer) = exchange(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n\r\n"),
        )
        .await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n")), "{answer}");
        assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
        assert_eq!(body_of(&answer), "");
    }
}

#[tokio::test]
async fn interim_answers_pass_but_for_a_leave_that_nobody_waits_for() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nOutboard-Channel: a\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_, seen) = exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", answer).await;
    let (_, old) = exchange("GET / HTTP/1.0\r\nHost: a\r\n\r\n", answer).await;

    assert!(seen.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nok"), "{seen}");
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 knows no interim answers: {old}");
}

#[tokio::test]
async fn an_early_hint_comes_early() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut backend, _) = script.request().await;

    backend.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let hint = client.head().await;
    backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;

    assert_eq!(hint, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert!(client.head().await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn a_client_that_waits_for_leave_gets_it_once() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.say(head).await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");

    client.say("hi").await;
    backend.read(2).await;
    backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;

    assert!(client.rest().await.0.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn chunks_of_a_request_are_read_as_they_must_be_and_no_otherwise() {
    for size in ["1 2", "1 ", "0x1", "+1"] {
        let mut script = Script::new().await;
        let mut proxy = Proxy::before(script.address).await;
        let mut client = proxy.client().await;

        client
            .say(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\na\r\n0\r\n\r\n"
            ))
            .await;
        let answer = client.head().await;
        let fault = proxy.fault().await;
        let _ = script.connection().await;

        assert!(answer.starts_with("HTTP/1.1 400 "), "{size}: {answer}");
        assert!(fault.contains("a chunk's size is not a hexadecimal number"), "{size}: {fault}");
    }
}

#[tokio::test]
async fn a_chunked_request_passes_with_its_trailers_whatever_its_method() {
    for method in ["POST", "GET", "DELETE", "PROPFIND"] {
        let mut script = Script::new().await;
        let proxy = Proxy::before(script.address).await;
        let mut client = proxy.client().await;

        client
            .say(&format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
            ))
            .await;
        let (mut backend, head) = script.request().await;
        let body = backend.read("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n".len()).await;
        backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;

        assert!(head.starts_with(&format!("{method} / ")), "{head}");
        assert!(head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(body.to_lowercase(), "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
        assert!(client.head().await.starts_with("HTTP/1.1 204 "));
    }
}

#[tokio::test]
async fn trailers_of_a_request_that_are_not_announced_or_not_the_clients_to_say_end_here() {
    for (announced, passed) in [("", ""), ("Trailer: X-Sum, Host, Outboard-Channel\r\n", "x-sum: 7\r\n")] {
        let mut script = Script::new().await;
        let proxy = Proxy::before(script.address).await;
        let mut client = proxy.client().await;

        client
            .say(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{announced}\r\n5\r\nhello\r\n0\r\n\
                 X-Sum: 7\r\nHost: b\r\nOutboard-Channel: c\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 9\r\nX_Y: z\r\n\r\n"
            ))
            .await;
        let (mut backend, _) = script.request().await;
        let expected = format!("5\r\nhello\r\n0\r\n{passed}\r\n");

        assert_eq!(backend.read(expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_request_with_a_length_keeps_it() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    let (mut backend, head) = script.request().await;
    let body = backend.read(5).await;

    assert!(head.contains("\r\nContent-Length: 5\r\n"), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn announced_trailers_of_an_answer_reach_a_client_that_takes_them() {
    let (request, answer) = exchange(
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Outboard-Channel\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\nOutboard-Channel: news\r\n\r\n",
    )
    .await;

    assert!(!request.to_lowercase().contains("\r\nte:"), "{request}");
    assert_eq!(body_of(&answer).to_lowercase(), "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
    assert!(!answer.to_lowercase().contains("outboard-"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let interim = client.head().await;
    client.say("hello").await;
    let (mut backend, head) = script.request().await;
    let body = backend.read(5).await;
    backend.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.head().await;

    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(!head.to_lowercase().contains("expect"), "{head}");
    assert_eq!(body, "hello");
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_with_300_lines_passes() {
    let lines: String = (0..298).map(|n| format!("X-{n}: {n}\r\n")).collect();

    let (_, answer) = exchange(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok"),
    )
    .await;

    assert!(answer.contains("\r\nX-297: 297\r\n"), "{answer}");
    assert_eq!(body_of(&answer), "ok");
}

#[tokio::test]
async fn an_event_stream_of_the_backends_own_passes_piece_by_piece() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\n").await;
    let head = client.head().await;
    backend.say("data: 1\n\n").await;
    let first = client.read("9\r\ndata: 1\n\n\r\n".len()).await;
    backend.say(":").await;
    let second = client.read("1\r\n:\r\n".len()).await;

    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!((first.as_str(), second.as_str()), ("9\r\ndata: 1\n\n\r\n", "1\r\n:\r\n"));
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_backend() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;

    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Cookie\r\nCookie: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", "417"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("\x16\x03\x01", "400"),
        ("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ] {
        let mut client = proxy.client().await;
        client.say(request).await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} "))
                || head.starts_with(&format!("HTTP/1.0 {status} ")),
            "{request}: {head}"
        );
    }
    assert!(!script.has_another());
}
