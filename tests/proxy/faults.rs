//! What a client is told, and the operator, when the backend does not do its part.

use std::time::Duration;

use outboard::proxy::{Address, Settings};
use tokio::io::AsyncWriteExt;

use super::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What the client and the operator read when the backend says this and closes.
async fn answered(answer: &str) -> (String, String) {
    let mut script = Script::new().await;
    let mut proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;
    backend.mutter(answer).await;
    drop(backend);
    (client.rest().await.0, proxy.fault().await)
}

#[tokio::test]
async fn a_backend_that_is_down_is_a_502_that_asks_whether_it_runs() {
    let gone = listen(|_, _| async {}).await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_ne!(gone, unused);
    let mut proxy = Proxy::before(unused).await;

    let answer = proxy.ask(GET).await;
    let fault = proxy.fault().await;

    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(fault.starts_with(&format!("cannot connect to backend http://{unused}: ")), "{fault}");
    assert!(fault.contains("is it running"), "{fault}");
    assert!(!answer.contains(&unused.port().to_string()), "{answer}");
}

#[tokio::test]
async fn a_socket_or_a_name_that_is_not_there_is_a_502() {
    for address in [
        Address::Unix("/nonexistent/app.sock".into()),
        Address::Tcp { host: "no-such-host.invalid".into(), port: 80 },
    ] {
        let mut proxy = Proxy::with(Settings::of(address.clone())).await;

        let answer = proxy.ask(GET).await;
        let fault = proxy.fault().await;

        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(fault.contains(&address.to_string()), "{fault}");
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_a_504() {
    let mut script = Script::new().await;
    let limit = Duration::from_millis(50);
    let mut proxy = Proxy::with(Settings { answer_timeout: limit, ..settings(script.address) }).await;

    let answer = proxy.ask(GET).await;
    let fault = proxy.fault().await;
    let (mut backend, _) = script.request().await;

    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert!(fault.contains("did not answer within 50ms"), "{fault}");
    backend.closed().await;
}

#[tokio::test]
async fn a_backend_with_all_connections_in_use_is_a_503() {
    let mut script = Script::new().await;
    let settings = Settings {
        connect_timeout: Duration::from_millis(50),
        max_connections: 1,
        ..settings(script.address)
    };
    let mut proxy = Proxy::with(settings).await;
    let mut first = proxy.client().await;
    first.say(GET).await;
    let (mut backend, _) = script.request().await;

    let busy = proxy.ask(GET).await;
    let fault = proxy.fault().await;
    backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    first.closed().await;
    let mut second = proxy.client().await;
    second.say(GET).await;
    let request = backend.head().await;

    assert!(busy.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{busy}");
    assert!(busy.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{busy}");
    assert!(fault.contains("max_connections"), "{fault}");
    assert!(request.starts_with("GET / "), "{request}");
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_502_that_says_why() {
    let many: String = (0..400).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let large = "x".repeat(70_000);
    for (answer, cause) in [
        ("", "closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer"),
        ("\0\0\0\0", r#"not valid HTTP: it does not begin with HTTP/1 but with "\x00\x00\x00\x00""#),
        ("\x15\x03\x01\0\x02\x02", "not valid HTTP"),
        ("HTTP/2.0 200 OK\r\n\r\n", "not valid HTTP"),
        ("HTTP/1.1 20 OK\r\n\r\n", r#"its first line is "HTTP/1.1 20 OK""#),
        ("HTTP/1.1 200 OK\r\nContent Length: 5\r\n\r\nhello", r#"the line "Content Length: 5""#),
        ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", "not valid HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not valid HTTP"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "both Transfer-Encoding and Content-Length",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "its Transfer-Encoding is \"gzip\""),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "not asked for",
        ),
        (&format!("HTTP/1.1 200 OK\r\nX: {large}\r\n\r\n"), "its head is longer than"),
        (&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "its head has more than"),
    ] {
        let (page, fault) = answered(answer).await;

        assert!(page.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer:.60}: {page}");
        assert!(fault.contains(cause), "{answer:.60}: {fault}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    for (answer, end) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "he"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n", "hello\r\n"),
    ] {
        for (pause, version) in [(false, "1.1"), (true, "1.1")] {
            let mut script = Script::new().await;
            let proxy = Proxy::before(script.address).await;
            let mut client = proxy.client().await;
            client.say(&format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")).await;
            let (mut backend, _) = script.request().await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            backend.say(&format!("{head}\r\n\r\n")).await;
            let mut seen = String::new();
            if pause {
                seen = client.head().await;
            }
            backend.say(body).await;
            drop(backend);
            seen.push_str(&client.rest().await.0);

            assert!(!seen.ends_with("0\r\n\r\n"), "{answer}: {seen}");
            let complete = seen.contains("Content-Length: 10\r\n") && body_of(&seen).len() == 10;
            assert!(!complete, "{answer}: {seen}");
            assert!(
                seen.is_empty()
                    || seen.contains(" 502 ")
                    || body_of(&seen).is_empty()
                    || seen.contains(end.trim_end()),
                "{answer}: {seen}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_given_up_on_does_not_take_half_an_answer_for_a_whole_one() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say("GET / HTTP/1.0\r\n\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 200 OK\r\n\r\nhalf").await;
    client.head().await;
    client.read("half".len()).await;

    client.stream.get_mut().shutdown().await.unwrap();

    assert_eq!(client.rest().await, (String::new(), false));
}

#[tokio::test]
async fn a_backend_that_pauses_too_long_within_an_answer_is_cut_off() {
    let mut script = Script::new().await;
    let limit = Duration::from_millis(50);
    let proxy = Proxy::with(Settings { idle_timeout: limit, ..settings(script.address) }).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;

    backend.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let (answer, _) = client.rest().await;

    backend.closed().await;
    assert_eq!(body_of(&answer), "hello");
}

#[tokio::test]
async fn an_event_stream_may_pause_as_long_as_it_likes() {
    let mut script = Script::new().await;
    let limit = Duration::from_millis(20);
    let proxy =
        Proxy::with(Settings { idle_timeout: limit, answer_timeout: limit, ..settings(script.address) })
            .await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    client.head().await;

    // The pause is what is tested: many times as long as the limit.
    tokio::time::sleep(limit * 10).await;
    backend.say(":").await;

    assert_eq!(client.read("1\r\n:\r\n".len()).await, "1\r\n:\r\n");
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_so_and_not_the_backend_blamed() {
    let mut script = Script::new().await;
    let limit = Duration::from_millis(50);
    let mut proxy = Proxy::with(Settings { idle_timeout: limit, ..settings(script.address) }).await;
    let mut client = proxy.client().await;

    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let (mut backend, _) = script.request().await;
    let answer = client.head().await;
    let fault = soon(proxy.faults.recv()).await.unwrap();

    backend.closed().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(fault.is_client(), "{fault}");
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_client_and_a_backend_that_both_stand_still() {
    // Neither do the sockets take all of it, nor is it so much that the client would be asked for more no longer.
    for kib in (128..=256).step_by(16) {
        let limit = Duration::from_millis(100);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let backend = tokio::net::UnixListener::bind(&path).unwrap();
        let settings = Settings::of(Address::Unix(path));
        let proxy = Proxy::with(Settings { idle_timeout: limit, answer_timeout: limit, ..settings }).await;
        let mut client = proxy.client().await;

        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        client.say(&"x".repeat(kib << 10)).await;
        let _never_read = soon(backend.accept()).await.unwrap();
        let answer = client.head().await;

        let status = answer.get(9..12);
        assert!(matches!(status, Some("408" | "504")), "{kib} KiB: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_request_takes_the_backends_connection_along() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let (mut backend, _) = script.request().await;
    drop(client);

    let (body, _) = backend.rest().await;
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn a_backend_that_takes_a_request_and_is_silent_is_not_asked_again() {
    let mut script = Script::new().await;
    let limit = Duration::from_millis(50);
    let proxy = Proxy::with(Settings { answer_timeout: limit, ..settings(script.address) }).await;
    let mut client = proxy.client().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.head().await;

    client.say(GET).await;
    let answer = client.head().await;

    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(!script.has_another());
}
