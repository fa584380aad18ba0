//! What passes, and what becomes of it on the way.

use super::support::*;

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

    assert!(
        request.starts_with("GET /a%2Fb/../c//d?x=%zz HTTP/1.1\r\nHost: Example.org\r\nX-ODD-name: 1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{request}");
    assert!(
        answer.starts_with("HTTP/1.1 200 Fine\r\nETag: \"1\"\r\nX-oDD: 2\r\nContent-Length: 5\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nVia: 1.1 outboard\r\n"), "{answer}");
    assert_eq!(body, "hello");
}
