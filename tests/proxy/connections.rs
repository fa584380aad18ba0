//! The connections to the backend: kept, used again, repeated on, closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outboard::proxy::tunnel;
use outboard::proxy::{Address, SILENCE, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends a request and reads the answer of [`OK`].
async fn ask(client: &mut Wire, request: &str) -> String {
    client.say(request).await;
    let head = client.head().await;
    let length: usize = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned))
        .map_or(0, |length| length.parse().unwrap());
    head + &client.read(length).await
}

#[tokio::test]
async fn a_connection_is_used_again_and_by_other_clients_too() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let (mut one, mut other) = (proxy.client().await, proxy.client().await);
    let backend = tokio::spawn(async move {
        let mut backend = script.connection().await;
        for _ in 0..4 {
            assert!(backend.head().await.starts_with("GET / "));
            backend.say(OK).await;
        }
        script.has_another()
    });

    for client in [&mut one, &mut other] {
        for _ in 0..2 {
            assert!(ask(client, GET).await.ends_with("\r\n\r\nok"));
        }
    }

    assert!(!soon(backend).await.unwrap());
}

#[tokio::test]
async fn in_a_crowd_everybody_gets_the_answer_to_their_own_question() {
    let address = listen(|stream, _| async move {
        let mut backend = Wire::new(stream);
        loop {
            let head = backend.head().await;
            let Some(path) = head.split(' ').nth(1) else { return };
            backend.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())).await;
        }
    })
    .await;
    let proxy = Proxy::before(address).await;
    let mut crowd = JoinSet::new();

    for number in 0..64 {
        let mut client = proxy.client().await;
        crowd.spawn(async move {
            for turn in 0..50 {
                let path = format!("/{number}/{turn}");
                let answer = ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                assert!(answer.ends_with(&format!("\r\n\r\n{path}")), "{answer}");
            }
        });
    }

    while let Some(asked) = crowd.join_next().await {
        asked.unwrap();
    }
}

#[tokio::test]
async fn an_unused_connection_is_closed_in_time() {
    let mut script = Script::new().await;
    let keep = Duration::from_millis(50);
    let proxy = Proxy::with(Settings { pool_idle: keep, ..settings(script.address) }).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;
    backend.say(OK).await;
    client.head().await;

    backend.closed().await;
}

#[tokio::test]
async fn a_backend_that_says_more_than_its_answer_is_not_asked_again() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say(&format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
    client.head().await;
    client.read(2).await;

    client.say(GET).await;
    let (mut second, _) = script.request().await;
    second.say(OK).await;
    client.head().await;

    assert_eq!(client.read(2).await, "ok");
    first.closed().await;
}

#[tokio::test]
async fn a_connection_whose_answer_announces_what_cannot_be_there_is_not_used_again() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say("HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n").await;
    client.head().await;

    assert_eq!(soon(first.rest()).await.0, "", "it is closed, and nothing else is asked over it");
}

/// What clients get of a backend that answers each request twice, the second time in a write of its own, after
/// so long: how many right answers, and how many that are not theirs; at first, and in a second round.
async fn answered_twice(pause: Duration) -> [(usize, usize); 2] {
    let address = listen(move |stream, _| async move {
        let mut backend = Wire::new(stream);
        loop {
            let head = backend.head().await;
            let Some(path) = head.split(' ').nth(1) else { return };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            backend.mutter(&answer).await;
            // The pause is what is tested.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            backend.mutter(&answer).await;
        }
    })
    .await;
    let proxy = Proxy::with(Settings { silence: SILENCE, ..settings(address) }).await;
    [answers_of_a_crowd(&proxy).await, answers_of_a_crowd(&proxy).await]
}

async fn answers_of_a_crowd(proxy: &Proxy) -> (usize, usize) {
    let mut crowd = JoinSet::new();
    for number in 0..8 {
        let mut client = proxy.client().await;
        crowd.spawn(async move {
            let mut right = 0;
            for turn in 0..50 {
                let path = format!("/{number}/{turn:02}");
                let answer = ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                right += usize::from(answer.ends_with(&format!("\r\n\r\n{path}")));
            }
            (right, 50 - right)
        });
    }
    let mut all = (0, 0);
    while let Some(counts) = crowd.join_next().await {
        let (right, wrong) = counts.unwrap();
        all = (all.0 + right, all.1 + wrong);
    }
    all
}

#[tokio::test]
async fn a_second_answer_in_a_write_of_its_own_is_given_to_nobody() {
    assert_eq!(answered_twice(Duration::ZERO).await, [(400, 0), (400, 0)]);
}

#[tokio::test]
async fn a_backend_that_was_heard_to_say_too_much_is_not_trusted_again() {
    for pause in [Duration::from_millis(1), Duration::from_millis(25)] {
        // Whoever is answered before it was heard may get what is another's: nobody can tell by then.
        let [_, (right, wrong)] = answered_twice(pause).await;

        assert_eq!((right, wrong), (400, 0), "the second answer comes after {pause:?}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_that_has_no_body_are_no_answer() {
    for (request, answer) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
    ] {
        let mut script = Script::new().await;
        let proxy = Proxy::with(Settings { silence: SILENCE, ..settings(script.address) }).await;
        let mut client = proxy.client().await;
        client.say(&format!("{request} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let (mut first, _) = script.request().await;
        first.say(answer).await;
        client.head().await;
        first.mutter("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;

        client.say(GET).await;
        let (mut second, _) = script.request().await;
        second.say(OK).await;
        client.head().await;

        assert_eq!(client.read(2).await, "ok", "{answer}");
    }
}

#[tokio::test]
async fn a_get_is_not_repeated_where_the_operator_says_so() {
    let mut script = Script::new().await;
    let mut proxy = Proxy::with(Settings { retry: false, ..settings(script.address) }).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say(OK).await;
    client.head().await;
    client.read(2).await;

    client.say(GET).await;
    first.head().await;
    drop(first);
    let answer = client.head().await;

    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(proxy.fault().await.contains("closed the connection without an answer"));
    assert!(!script.has_another());
}

#[tokio::test]
async fn a_get_that_finds_a_dead_connection_is_sent_again() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say(OK).await;
    client.head().await;
    client.read(2).await;

    client.say("GET /a?b HTTP/1.1\r\nHost: a\r\nX-ODD-name: 1\r\n\r\n").await;
    let seen = first.head().await;
    drop(first);
    let (mut second, again) = script.request().await;
    second.say(OK).await;
    client.head().await;

    assert!(again.contains("\r\nX-ODD-name: 1\r\n"), "{again}");
    assert_eq!(seen, again);
    assert_eq!(client.read(2).await, "ok");
}

#[tokio::test]
async fn a_request_is_sent_twice_at_most() {
    let mut script = Script::new().await;
    let mut proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say(OK).await;
    client.head().await;
    client.read(2).await;

    client.say(GET).await;
    first.head().await;
    drop(first);
    let (second, _) = script.request().await;
    drop(second);
    let answer = client.head().await;

    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(proxy.fault().await.contains("closed the connection without an answer"));
    assert!(!script.has_another());
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_again() {
    for request in [
        POST,
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut script = Script::new().await;
        let proxy = Proxy::before(script.address).await;
        let mut client = proxy.client().await;
        client.say(GET).await;
        let (mut first, _) = script.request().await;
        first.say(OK).await;
        client.head().await;
        client.read(2).await;

        client.say(request).await;
        first.head().await;
        drop(first);
        let answer = client.head().await;

        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(!script.has_another());
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut first, _) = script.request().await;
    first.say(OK).await;
    client.head().await;
    client.read(2).await;

    client.say(GET).await;
    first.head().await;
    first.say("HTTP/1.1 2").await;
    drop(first);
    let answer = client.head().await;

    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(!script.has_another());
}

#[tokio::test]
async fn a_backend_that_closes_resting_connections_costs_no_get_and_doubles_no_post() {
    const ROUNDS: usize = 2_000;
    let posts = Arc::new(AtomicUsize::new(0));
    let count = posts.clone();
    let address = listen(move |stream, number| {
        let count = count.clone();
        async move {
            let mut backend = Wire::new(stream);
            // Each connection takes another number of requests, and is then closed while it rests.
            for _ in 0..number % 7 + 1 {
                let head = backend.head().await;
                if head.is_empty() {
                    return;
                }
                if head.starts_with("POST ") {
                    assert_eq!(backend.read(5).await, "hello");
                    count.fetch_add(1, Ordering::SeqCst);
                }
                backend.mutter(OK).await;
            }
        }
    })
    .await;
    let proxy = Proxy::before(address).await;

    let (mut sent, mut failed) = (0, 0);
    let mut client = proxy.client().await;
    for round in 0..ROUNDS {
        let request = if round % 3 == 0 { POST } else { GET };
        let answer = ask(&mut client, request).await;
        let ok = answer.starts_with("HTTP/1.1 200 ");
        assert!(ok || request == POST, "{answer}");
        if request == POST {
            sent += 1;
            failed += usize::from(!ok);
        }
    }

    let arrived = posts.load(Ordering::SeqCst);
    assert!(sent - failed <= arrived && arrived <= sent, "{sent} sent, {failed} failed, {arrived} arrived");
    // The kernel knows of nearly every close before the next request.
    assert!(failed * 20 <= sent, "{failed} of {sent} failed");
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_backend_connection_before_and_within_the_answer() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;

    let mut client = proxy.client().await;
    client.say(GET).await;
    let (mut backend, _) = script.request().await;
    drop(client);
    backend.closed().await;

    for kind in ["text/event-stream", "text/html"] {
        let mut client = proxy.client().await;
        client.say(GET).await;
        let (mut backend, _) = script.request().await;
        backend.say(&format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n:")).await;
        client.head().await;
        drop(client);
        backend.closed().await;
    }
}

#[tokio::test]
async fn what_nobody_reads_is_held_back_on_both_sides() {
    // More than all buffers on the way together; the kernel's grow to a few MiB each.
    const SIZE: usize = 64 << 20;
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let address = listen(move |stream, _| {
        let sender = sender.clone();
        async move {
            let mut backend = Wire::new(stream);
            let head = backend.head().await;
            backend.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await;
            let piece = [b'x'; 64 << 10];
            let mut stream = backend.stream.into_inner();
            for _ in 0..SIZE / piece.len() {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                let _ = sender.send(piece.len());
            }
            assert!(head.starts_with("GET / "));
        }
    })
    .await;
    let proxy = Proxy::before(address).await;
    let mut client = proxy.client().await;
    client.say(GET).await;
    client.head().await;

    // The backend stops by itself: nothing more comes for a while, long before the end.
    let mut before_pause = 0;
    while let Ok(Some(size)) = tokio::time::timeout(Duration::from_millis(500), sent.recv()).await {
        before_pause += size;
    }
    let mut read = 0;
    let mut stream = client.stream;
    let mut buffer = vec![0; 1 << 20];
    while read < SIZE {
        let size = soon(tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)).await.unwrap();
        assert_ne!(size, 0);
        read += size;
    }

    assert!(before_pause < SIZE / 2, "{before_pause} bytes went to a client that reads nothing");
}

#[tokio::test]
async fn a_large_upload_passes_whole() {
    const SIZE: usize = 32 << 20;
    let address = listen(|stream, _| async move {
        let mut backend = Wire::new(stream);
        backend.head().await;
        let mut left = SIZE;
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            let size = tokio::io::AsyncReadExt::read(&mut backend.stream, &mut buffer).await.unwrap();
            assert!(size > 0 && buffer[..size].iter().all(|&byte| byte == b'y'));
            left -= size;
        }
        backend.say(OK).await;
    })
    .await;
    let proxy = Proxy::before(address).await;
    let mut client = proxy.client().await;

    client.say(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    let piece = "y".repeat(1 << 20);
    for _ in 0..SIZE / piece.len() {
        client.say(&piece).await;
    }

    assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_complete() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.read("1\r\na\r\n".len()).await;
    backend.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n").await;
    client.head().await;
    let first = client.read("1\r\nA\r\n".len()).await;
    client.say("1\r\nb\r\n").await;
    let second = backend.read("1\r\nb\r\n".len()).await;
    client.say("0\r\n\r\n").await;
    backend.read("0\r\n\r\n".len()).await;
    backend.say("0\r\n\r\n").await;

    assert_eq!((first.as_str(), second.as_str()), ("1\r\nA\r\n", "1\r\nb\r\n"));
    assert_eq!(client.read("0\r\n\r\n".len()).await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_backend_that_answers_and_closes_in_the_middle_of_an_upload_is_heard() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;

    // Whether the write fails before the answer is read is a matter of luck.
    for _ in 0..10 {
        let (mut reading, mut writing) = TcpStream::connect(proxy.address).await.unwrap().into_split();
        tokio::spawn(async move {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
            let _ = writing.write_all(&[head.as_bytes(), &[b'x'; 10_000_000]].concat()).await;
        });
        let (mut backend, _) = script.request().await;
        backend.say("HTTP/1.1 501 Not Implemented\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
        drop(backend);

        let mut line = [0; 12];
        soon(reading.read_exact(&mut line)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&line), "HTTP/1.1 501");
    }
}

#[tokio::test]
async fn a_whole_answer_before_the_end_of_its_request_is_not_lost() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
    let head = client.head().await;

    assert!(head.contains("\r\nContent-Length: 3\r\n"), "{head}");
    assert_eq!(client.read(3).await, "big");
}

#[tokio::test]
async fn a_request_that_breaks_off_as_its_answer_comes_costs_the_backends_connection() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    for rest in ["", "no chunk"] {
        let mut client = proxy.client().await;
        let framing = if rest.is_empty() { "Content-Length: 10" } else { "Transfer-Encoding: chunked" };
        let part = if rest.is_empty() { "hello" } else { "5\r\nhello\r\n" };
        client.say(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{part}")).await;
        let (mut backend, _) = script.request().await;
        backend.read(part.len()).await;

        // Nobody else runs between these, so the proxy hears of both at once.
        backend.stream.get_ref().try_write(OK.as_bytes()).unwrap();
        client.stream.get_ref().try_write(rest.as_bytes()).unwrap();
        socket2::SockRef::from(client.stream.get_ref()).shutdown(std::net::Shutdown::Write).unwrap();
        client.rest().await;
        let mut next = proxy.client().await;
        next.say(GET).await;
        let (mut fresh, head) = script.request().await;
        fresh.say(OK).await;

        assert!(head.starts_with("GET / "), "{head}");
        assert_eq!(backend.rest().await.0, "", "the old connection is closed, and nothing came over it");
    }
}

#[tokio::test]
async fn a_unix_socket_is_a_backend_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let size = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..size]).into_owned()
    });
    let proxy = Proxy::with(Settings::of(Address::Unix(path))).await;
    let mut client = proxy.client().await;

    let answer = ask(&mut client, "GET / HTTP/1.0\r\n\r\n").await;

    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(soon(backend).await.unwrap().contains("\r\nHost: localhost\r\n"));
}

#[tokio::test]
async fn a_websocket_is_a_tunnel() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client
        .say("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\nearly")
        .await;
    let (mut backend, request) = script.request().await;
    backend
        .say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\nhello")
        .await;
    let head = client.head().await.to_lowercase();
    let hello = client.read(5).await;
    let early = backend.read(5).await;
    client.say("up").await;
    let up = backend.read(2).await;
    backend.say("down").await;
    let down = client.read(4).await;
    drop(backend);

    assert!(request.contains("\r\nSec-WebSocket-Key: x\r\n"), "{request}");
    assert!(
        request.to_lowercase().contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"),
        "{request}"
    );
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(
        head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nsec-websocket-accept: y\r\n"),
        "{head}"
    );
    assert_eq!([hello, early, up, down], ["hello", "early", "up", "down"]);
    client.closed().await;
    assert!(tunnel::IDLE_LIMIT > Duration::from_secs(60));
}

#[tokio::test]
async fn a_backend_that_declines_a_websocket_answers_as_usual() {
    let mut script = Script::new().await;
    let proxy = Proxy::before(script.address).await;
    let mut client = proxy.client().await;

    client.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let (mut backend, _) = script.request().await;
    backend.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;

    assert!(client.head().await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert_eq!(client.read(2).await, "no");
}
