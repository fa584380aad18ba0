//! The same API over TCP, where no file says who may use it.

use std::net::SocketAddr;
use std::sync::Arc;

use outboard::admin::{self, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::Answer;
use crate::support::{Served, serve};

fn listen(served: &Served, token: Option<&str>) -> SocketAddr {
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), token: token.map(str::to_owned) };
    let bound = admin::bind(&settings).unwrap();
    let address = bound.address();
    tokio::spawn(admin::serve(bound, Arc::clone(&served.api), served.draining.clone()));
    address
}

async fn ask(address: SocketAddr, head: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{}\r\nConnection: close\r\n\r\n", head.replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    Answer::of(&answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_this_machine_events_can_be_posted_without_a_token() {
    let served = serve();
    let address = listen(&served, None);

    let answer =
        ask(address, &format!("POST /channels/a HTTP/1.1\nHost: {address}\nContent-Length: 0")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(served.data("a"), [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_post_however_it_tries() {
    let served = serve();
    let address = listen(&served, None);

    for headers in
        ["Host: evil.example", "Host: localhost\nOrigin: null", "Host: localhost\nSec-Fetch-Mode: no-cors"]
    {
        let answer = ask(address, &format!("POST /channels/a HTTP/1.1\n{headers}\nContent-Length: 0")).await;
        assert_eq!(answer.refusal(), (403, "forbidden".to_owned()), "{headers}");
    }
    assert_eq!(served.data("a"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_the_token_is_asked_of_everybody_for_everything_but_health() {
    let served = serve();
    let address = listen(&served, Some("secret"));
    let token = "Authorization: Bearer secret";

    for request in [
        "POST /channels/a HTTP/1.1\nHost: localhost\nContent-Length: 0",
        "GET /channels HTTP/1.1\nHost: localhost",
        "GET /channels/a HTTP/1.1\nHost: localhost",
        "GET /channels/a/events HTTP/1.1\nHost: localhost",
        "GET /channels/a/events?replay=unseen HTTP/1.1\nHost: localhost\nAccept: text/event-stream",
        "HEAD /channels HTTP/1.1\nHost: localhost",
    ] {
        let without = ask(address, request).await;
        let wrong = ask(address, &format!("{request}\nAuthorization: Bearer secre")).await;

        assert_eq!((without.status, wrong.status), (401, 401), "{request}");
        assert!(without.head.contains("www-authenticate: bearer"), "{request}");
    }
    let with =
        ask(address, &format!("POST /channels/a HTTP/1.1\nHost: localhost\n{token}\nContent-Length: 0"))
            .await;
    let list = ask(address, &format!("GET /channels HTTP/1.1\nHost: localhost\n{token}")).await;
    assert_eq!((with.status, list.status), (200, 200));
    assert_eq!(ask(address, "GET /healthz HTTP/1.1\nHost: 10.1.2.3").await.status, 200);
    assert_eq!(served.data("a"), [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_others_can_reach_needs_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let settings = |token: Option<&str>| Settings {
            listen: listen.parse().unwrap(),
            token: token.map(str::to_owned),
        };

        let refused = admin::bind(&settings(Some(""))).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "the admin listener {listen} can be reached from other machines and has no token; \
                 set `token` in [admin], or listen on 127.0.0.1"
            )
        );
        assert!(admin::bind(&settings(Some("secret"))).is_ok());
    }
}
