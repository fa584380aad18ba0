use http_body_util::BodyExt;
use tokio::net::UnixStream;

use super::*;
use crate::drain::{Drain, drain};

/// Serves one end of a pair of sockets, and gives the other.
fn client<F>(
    options: Options,
    answer: impl Fn(Request) -> F + Send + Sync + 'static,
) -> (UnixStream, Drain, tokio::task::JoinHandle<()>)
where
    F: Future<Output = Handled<Infallible>> + Send,
{
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (drain, draining) = drain();
    let served = tokio::spawn(async move {
        serve(Socket::Unix(ours), Bytes::new(), options, draining, answer).await;
    });
    (theirs, drain, served)
}

/// Answers with the target and the body.
async fn echo(request: Request) -> Handled<Infallible> {
    let path = request.head.path().to_owned();
    let body = request.body.collect().await;
    let body = body.map_or_else(|error| error.to_string().into(), http_body_util::Collected::to_bytes);
    let text = format!("{path}={}", String::from_utf8_lossy(&body));
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert("date", http::HeaderValue::from_static("now"));
    Handled::Response(response)
}

/// Says all of it, and hears to the end.
async fn say(socket: &mut UnixStream, text: &str) -> String {
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.unwrap();
    heard
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order_whatever_their_bodies() {
    let (mut socket, _drain, served) = client(Options::default(), echo);

    let heard = say(
        &mut socket,
        "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\
         POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1\r\ny\r\n0\r\n\r\n\
         HEAD /c HTTP/1.1\r\n\r\n\
         GET /d HTTP/1.1\r\nConnection: close\r\n\r\n\
         GET /never HTTP/1.1\r\n\r\n",
    )
    .await;

    let head = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: ";
    assert_eq!(
        heard,
        format!(
            "{head}5\r\n\r\n/a=hi{head}5\r\n\r\n/b=xy{head}3\r\n\r\n{head}3\r\nConnection: close\r\n\r\n/d="
        )
    );
    served.await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_body_is_no_next_request() {
    let (mut socket, _drain, _served) =
        client(Options::default(), |_request| async { Handled::Response(Response::new(Body::empty())) });

    let smuggled = "GET /smuggled HTTP/1.1\r\n\r\n";
    let text = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let heard = say(&mut socket, &text).await;

    assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{heard}");
    assert!(heard.contains("\r\nConnection: close\r\n"), "{heard}");
}

#[tokio::test]
async fn a_client_that_asks_for_leave_to_send_gets_it_when_its_body_is_wanted() {
    let (mut socket, _drain, _served) = client(Options::default(), echo);
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";

    socket.write_all(head.as_bytes()).await.unwrap();
    let mut heard = vec![0; go_on.len()];
    socket.read_exact(&mut heard).await.unwrap();
    let rest = say(&mut socket, "hi").await;

    assert_eq!(heard, go_on.as_bytes());
    assert!(rest.ends_with("\r\n\r\n/=hi"), "{rest}");
    let (mut hasty, _drain, _served) = client(Options::default(), echo);
    let heard = say(&mut hasty, &format!("{head}hi")).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
}

#[tokio::test]
async fn a_client_of_http_1_0_is_given_no_leave_it_could_take_for_its_answer() {
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (mut socket, _drain, _served) = client(Options::default(), move |request| {
        let _ = begun.send(());
        echo(request)
    });
    socket.write_all(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    // By then it has been asked for the body as well: that is the same turn.
    has_begun.recv().await.unwrap();

    let heard = say(&mut socket, "hi").await;

    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
}

#[tokio::test]
async fn a_drain_ends_an_idle_connection_and_lets_a_request_finish() {
    let (mut idle, drain, served) = client(Options::default(), echo);
    drain.start();
    let mut heard = String::new();
    idle.read_to_string(&mut heard).await.unwrap();
    drop(idle);
    served.await.unwrap();
    assert_eq!(heard, "");

    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (mut busy, drain, _served) = client(Options::default(), move |request| {
        let _ = begun.send(());
        echo(request)
    });
    busy.write_all(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nh").await.unwrap();
    has_begun.recv().await.unwrap();
    drain.start();
    let heard = say(&mut busy, "i").await;
    assert!(heard.contains("\r\nConnection: close\r\n") && heard.ends_with("/a=hi"), "{heard}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along_unless_it_may_half_close() {
    struct Told(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (told, mut dropped) = tokio::sync::mpsc::unbounded_channel();
    let (mut socket, _drain, _served) = client(Options::default(), move |_request| {
        let told = Told(told.clone());
        async move {
            let _told = told;
            future::pending().await
        }
    });
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), dropped.recv()).await.unwrap();

    let options = Options { half_close: true, ..Options::default() };
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let leave = Arc::new(tokio::sync::Semaphore::new(0));
    let waits_for = Arc::clone(&leave);
    let (mut socket, _drain, _served) = client(options, move |request| {
        let (begun, leave) = (begun.clone(), Arc::clone(&waits_for));
        async move {
            begun.send(()).unwrap();
            leave.acquire().await.unwrap().forget();
            echo(request).await
        }
    });
    socket.write_all(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    // The connection looks at its socket in the same turn in which the answer begins to wait.
    has_begun.recv().await.unwrap();
    leave.add_permits(2);
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("/a=") && heard.ends_with("/b="), "{heard}");
}

#[tokio::test]
async fn a_client_that_leaves_behind_more_than_may_wait_is_not_kept_for_ever() {
    struct Silent;
    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = crate::body::BodyError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, crate::body::BodyError>>> {
            Poll::Pending
        }
    }
    let options = Options { write_timeout: Some(Duration::from_millis(50)), ..Options::default() };
    let (mut socket, _drain, served) =
        client(options, |_request| async { Handled::Response(Response::new(Body::stream(Silent))) });
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    socket.read_exact(&mut [0; 15]).await.unwrap();
    socket.write_all(&[b'x'; 140_000]).await.unwrap();

    drop(socket);

    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_pauses_while_its_answer_waits_is_not_cut_off_unless_there_is_a_limit() {
    const SIZE: usize = 8 << 20;
    let options = Options { write_timeout: None, ..Options::default() };
    let (mut slow, _drain, _served) = client(options, |_request| async {
        Handled::<Infallible>::Response(Response::new(Body::from(vec![b'x'; SIZE])))
    });
    slow.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();

    // The pause is what is tested: many times as long as a limit with which the next test cuts off.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut heard = Vec::new();
    slow.read_to_end(&mut heard).await.unwrap();

    assert!(heard.len() > SIZE, "{} bytes", heard.len());
}

#[tokio::test]
async fn a_client_may_send_all_of_its_request_before_it_looks_for_an_answer() {
    const SIZE: usize = 8 << 20;
    let (mut socket, _drain, served) = client(Options::default(), |_request| async {
        let mut response = Response::new(Body::from("too much"));
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        Handled::<Infallible>::Response(response)
    });

    socket.write_all(format!("POST / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
    for _ in 0..SIZE >> 16 {
        socket.write_all(&[b'x'; 1 << 16]).await.expect("all of it is taken");
    }
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.unwrap();

    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    drop(socket);
    served.await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_was_the_last() {
    for (text, status) in [
        ("GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request"),
        ("GET / HTTP/3\r\n\r\n", "505 HTTP Version Not Supported"),
        ("\x16\x03\x01\x02", "400 Bad Request"),
        (&format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(70_000)), "431 Request Header Fields Too Large"),
    ] {
        let (mut socket, _drain, served) = client(Options::default(), echo);

        let heard = say(&mut socket, text).await;

        assert!(heard.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{heard}");
        assert!(heard.contains("\r\nConnection: close\r\n"), "{heard}");
        drop(socket);
        served.await.unwrap();
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_and_an_answer_that_is_not_taken_have_clocks() {
    let short = Duration::from_millis(50);
    let options = Options { header_timeout: short, write_timeout: Some(short), ..Options::default() };
    let (mut slow, _drain, _served) = client(options, echo);
    assert_eq!(say(&mut slow, "GET / HT").await, "");

    let (mut deaf, _drain, served) = client(options, |_request| async {
        Handled::Response(Response::new(Body::from(vec![b'x'; 8 << 20])))
    });
    deaf.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap();
}

/// Sends a request, reads its answer to the last byte, and counts from there.
async fn ask(socket: &mut UnixStream, request: &str, answer: &str) -> Instant {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(answer.as_bytes()) {
        assert!(socket.read_buf(&mut heard).await.unwrap() > 0, "{}", String::from_utf8_lossy(&heard));
    }
    Instant::now()
}

#[test]
fn a_connection_waits_for_its_next_request_longer_than_servers_in_front_keep_it() {
    // nginx keeps them for 60 s, and most load balancers do.
    assert!(Options::default().idle_timeout > Duration::from_secs(60));
}

#[tokio::test]
async fn the_pause_between_two_requests_has_a_limit_of_its_own() {
    let (short, long) = (Duration::from_millis(20), Duration::from_millis(200));
    let options = Options { header_timeout: short, idle_timeout: long, ..Options::default() };
    let (mut socket, _drain, _served) = client(options, echo);

    let since = ask(&mut socket, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a=").await;
    let ended = socket.read(&mut [0]).await.unwrap();

    assert_eq!(ended, 0);
    assert!(since.elapsed() + short > long, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_head_that_has_begun_has_less_time_than_a_pause() {
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(3600));
    let options = Options { header_timeout: short, idle_timeout: long, ..Options::default() };
    let (mut socket, _drain, _served) = client(options, echo);

    ask(&mut socket, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a=").await;
    socket.write_all(b"GET /b").await.unwrap();

    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_that_comes_as_the_time_is_over_is_answered() {
    let long = Duration::from_millis(50);
    let (mut socket, _drain, _served) = client(Options { idle_timeout: long, ..Options::default() }, echo);
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

    let since = ask(&mut socket, request, "/a=hi").await;
    // On this one thread nobody else runs meanwhile: the clock has rung when the request is found.
    while since.elapsed() < long * 2 {
        std::hint::spin_loop();
    }

    ask(&mut socket, request, "/a=hi").await;
}
