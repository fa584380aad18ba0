//! What working old servers answer, and what cannot be read in one way only.

use super::support::*;

const GET: &str = "GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What a client reads when the site says this over a new connection and closes.
async fn heard(answer: &[u8]) -> (String, Proxy) {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;
    backend.say_bytes(answer).await;
    drop(backend);
    let mut bytes = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut bytes)).await.unwrap();
    (String::from_utf8_lossy(&bytes).into_owned(), proxy)
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_one_way_only_is_passed_on_as_it_should_have_been() {
    for (answer, line, body) in [
        (&b"HTTP/1.1 200 OK\r\nX-Powered-By : x\r\nContent-Length: 2\r\n\r\nok"[..], "X-Powered-By: x", "ok"),
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", "X-A: b c", "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.1  200  OK\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"\xef\xbb\xbfHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"\xef\xbb\xbf\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "Content-Length: 2", "ok"),
        (b"HTTP/1.1 200 OK\r\nX-A: b\x01c\rd\0\r\nContent-Length: 2\r\n\r\nok", "X-A: b c d", "ok"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2  \nok\n0\n\n",
            "Transfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
            "Transfer-Encoding: chunked",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        (b"ICY 200 OK\r\nicy-name: Radio\r\n\r\nok", "icy-name: Radio", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let (heard, _) = heard(answer).await;

        let sent = answer.escape_ascii();
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{sent}: {heard}");
        assert!(heard.contains(&format!("\r\n{line}\r\n")), "{sent}: {heard}");
        assert_eq!(body_of(&heard), body, "{sent}: {heard}");
    }
}

#[tokio::test]
async fn the_words_behind_a_status_pass_in_whatever_charset_they_are() {
    let (heard, _) = heard(b"HTTP/1.1 404 Nicht da, \xfcbrigens\r\nContent-Length: 0\r\n\r\n").await;

    assert!(heard.starts_with("HTTP/1.1 404 Nicht da, \u{fffd}brigens\r\n"), "{heard}");
}

#[tokio::test]
async fn an_answer_that_could_be_read_in_two_ways_is_a_502_that_names_the_line() {
    for (lines, named) in [
        ("Content-Length: 5, 6", r#"its Content-Length is "5, 6""#),
        ("Content-Length: 5\r\nContent-Length: 6", "two Content-Lengths, 5 and 6"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "both Transfer-Encoding and Content-Length"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", r#"the second of which is "identity""#),
        ("Transfer-Encoding: gzip, chunked", r#"its Transfer-Encoding is "gzip, chunked""#),
        ("X Y: \x1b[31m", r#"the line "X Y: \x1b[31m""#),
        ("no header at all", r#"the line "no header at all""#),
    ] {
        let (heard, mut proxy) = heard(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello").as_bytes()).await;
        let fault = proxy.fault().await;

        assert!(heard.starts_with("HTTP/1.1 502 "), "{lines:?}: {heard}");
        assert!(fault.contains(named), "{lines:?}: {fault}");
    }
    let long = "x".repeat(5000);
    let (_, mut proxy) = heard(format!("HTTP/1.1 200 OK\r\nX {long}: a\r\n\r\n").as_bytes()).await;
    let fault = proxy.fault().await;
    assert!(fault.len() < 400, "a line that a site sends fills no log: {fault}");
}

#[tokio::test]
async fn an_answer_without_a_head_is_one_of_http_0_9_and_only_as_the_first_of_a_connection() {
    let (text, _) = heard(b"<title>Old</title>").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("<title>Old</title>"), "{text}");

    let mut script = Script::new().await;
    let mut proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    client.head().await;
    client.read(2).await;
    client.say(GET).await;
    backend.head().await;
    backend.say("<title>Old</title>").await;
    drop(backend);

    let (second, _) = client.rest().await;

    assert!(second.starts_with("HTTP/1.1 502 "), "{second}");
    assert!(proxy.fault().await.contains(r#"but with "<title>Old</title>""#));
}
