//! HTTP on the publish socket.

use std::io::Read;

use serde_json::{Value, json};

use crate::support::{Served, blocking, roomy, serve, serve_before, serve_with};

/// What came back for one request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let message = body["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains('\n') && !message.ends_with('.'), "{message}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }

    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// Sends one request, whose `head` is its request line and headers, and reads its answer.
async fn ask(served: &Served, head: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let lines = head.lines().map(|line| format!("{}\r\n", line.trim())).collect::<String>();
    let request =
        [format!("{lines}Host: outboard\r\nConnection: close\r\n{length}\r\n").as_bytes(), body].concat();
    Answer::of(&served.say(request).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_its_host_unless_it_is_of_http_1_0() {
    let served = serve();

    for (version, status) in [("HTTP/1.0", 200), ("HTTP/1.1", 400)] {
        let request =
            format!("POST /channels/a {version}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1");
        let answer = Answer::of(&served.say(request).await);

        assert_eq!(answer.status, status, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_post_is_the_data_of_an_event() {
    let served = serve();

    for content_type in ["", "\nContent-Type: text/plain", "\nContent-Type: text/plain; charset=utf-8"] {
        let head = format!("POST /channels/job%2F42?event=progress&id=7 HTTP/1.1{content_type}");
        let answer = ask(&served, &head, "half\r\nway").await;

        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({ "id": "7", "receivers": 0, "level": "accepted" }));
        assert!(answer.head.contains("content-type: application/json"));
    }
    assert_eq!(served.data("job/42"), ["half\nway"; 3]);
    assert_eq!(served.events("job/42")[0].name(), Some("progress"));
    assert_eq!(served.api.metrics.published.value(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_be_posted_as_json() {
    let served = serve();
    let post = "POST /channels/a?event=query&ttl=60 HTTP/1.1\nContent-Type: application/json";

    let first = ask(&served, post, r#"{"data": "1", "event": "body", "dedupe": "k", "ttl": 5}"#).await;
    let again = ask(&served, post, r#"{"data": "2", "dedupe": "k"}"#).await;
    let other = ask(&served, post, r#"{"data": "3", "id": null}"#).await;

    assert_eq!([first.status, again.status, other.status], [200; 3]);
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(served.data("a"), ["1", "3"]);
    assert_eq!(served.events("a")[0].name(), Some("body"));
    assert_eq!(served.events("a")[1].name(), Some("query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_can_be_posted_and_have_a_receipt_each() {
    let served = serve();
    let post = "POST /channels/a HTTP/1.1\nContent-Type: text/event-stream";

    let one = ask(&served, post, "data: 1\n\n").await;
    let several = ask(&served, post, "id: x\ndata: 2\n\nchannel: b\n\ndata: 3\nclose:\n\n").await;

    assert_eq!(one.json()["level"], "accepted");
    assert_eq!(several.json().as_array().unwrap().len(), 3);
    assert_eq!(several.json()[0]["id"], "x");
    assert_eq!(several.json()[1], json!({}));
    assert_eq!((served.data("a"), served.data("b")), (vec!["1".into(), "2".into()], vec!["3".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_frames_none_is_published_if_one_is_wrong() {
    let served = serve();
    let post = "POST /channels/a HTTP/1.1\nContent-Type: text/event-stream";

    let wrong = ask(&served, post, "data: 1\n\nchanel: b\n\ndata: 3\n\n").await;
    let cut = ask(&served, post, "data: 1\n\ndata: 2\n").await;
    let none = ask(&served, post, ": nothing\n\n").await;

    assert_eq!(wrong.refusal(), (400, "unknown-field".to_owned()));
    assert_eq!(
        wrong.message(),
        r#"frame 2: unknown field "chanel": did you mean "channel"?; nothing is published"#
    );
    assert_eq!(cut.refusal(), (400, "incomplete".to_owned()));
    assert_eq!(none.refusal(), (400, "bad-value".to_owned()));
    assert_eq!(served.data("a"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_refused_with_a_code() {
    let served = serve_with(roomy(), |settings| settings.max_event_size = 1000);
    let json = "POST /channels/a HTTP/1.1\nContent-Type: application/json";
    let text = "POST /channels/a HTTP/1.1";
    let long = "x".repeat(1001);

    for (head, body, status, code) in [
        (json, r#"{"dta": "1"}"#, 400, "unknown-field"),
        (json, r#"{"data": 1}"#, 400, "bad-value"),
        (json, r#"{"data": "1", "ttl": -1}"#, 400, "bad-value"),
        (json, r#"{"data": "1", "event": "a\nb"}"#, 400, "bad-value"),
        (json, r#"{"data": "1", "id": "a "}"#, 400, "bad-value"),
        (json, r#"{"data": "1", "dedupe": ""}"#, 400, "bad-value"),
        (json, r#"{"event": "x"}"#, 400, "bad-value"),
        (json, "{}", 400, "bad-value"),
        (json, "[1]", 400, "bad-value"),
        (json, r#"{"data": "#, 400, "bad-value"),
        (json, "", 400, "bad-value"),
        (text, long.as_str(), 413, "too-large"),
        ("POST /channels/@share%2Fx HTTP/1.1", "1", 403, "forbidden"),
        ("POST /channels/%7Ba%7D HTTP/1.1", "1", 400, "bad-channel"),
        ("POST /channels/ HTTP/1.1", "1", 400, "bad-channel"),
        ("POST /channels/%FF HTTP/1.1", "1", 400, "bad-utf8"),
        ("POST /channels/a/b HTTP/1.1", "1", 404, "not-found"),
        ("POST /channels/a<b> HTTP/1.1", "1", 400, "bad-value"),
        ("POST /channels/a?event=<b> HTTP/1.1", "1", 400, "bad-value"),
        ("POST /channels/a?evnt=x HTTP/1.1", "1", 400, "unknown-field"),
        ("POST /channels/a?ttl=soon HTTP/1.1", "1", 400, "bad-value"),
        ("POST /channels/a?event=%0A HTTP/1.1", "1", 400, "bad-value"),
        ("POST /channels/a HTTP/1.1\nContent-Type: image/png", "1", 415, "unsupported-type"),
        (
            "POST /channels/a HTTP/1.1\nContent-Type: application/x-www-form-urlencoded",
            "1",
            415,
            "unsupported-type",
        ),
        ("POST /channels/a HTTP/1.1\nContent-Encoding: gzip", "1", 415, "unsupported-type"),
        ("POST /channels/a/grants HTTP/1.1", "", 501, "forbidden"),
        ("POST /channels/a HTTP/1.1\nOrigin: https://evil.example", "1", 403, "forbidden"),
        ("POST /channels/a HTTP/1.1\nSec-Fetch-Site: cross-site", "1", 403, "forbidden"),
    ] {
        let answer = ask(&served, head, body).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{head} {body}");
    }
    assert_eq!(ask(&served, text, b"\xff").await.refusal(), (400, "bad-utf8".to_owned()));
    assert_eq!(served.data("a"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_all_there() {
    let served = serve_with(roomy(), |settings| settings.max_event_size = 1000);
    let heads = [
        "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n800\r\n",
    ];

    for head in heads {
        let mut publisher = served.connect();
        publisher.write(format!("POST /channels/a HTTP/1.1\r\nHost: x\r\n{head}"));
        if head.contains("chunked") {
            publisher.write("x".repeat(0x800));
        }
        let answer = Answer::of(&blocking(move || publisher.rest()).await);

        assert_eq!(answer.refusal(), (413, "too-large".to_owned()));
        assert!(answer.head.contains("connection: close"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_share_a_connection() {
    let served = serve();
    let mut publisher = served.connect();

    for n in 0..3 {
        publisher.write(format!("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{n}"));
    }
    publisher.end();

    let answers = blocking(move || publisher.rest()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(served.data("a"), ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_ended_its_side_still_gets_its_answer() {
    let served = serve();
    let mut publisher = served.connect();

    publisher.write("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1");
    publisher.end();

    assert_eq!(Answer::of(&blocking(move || publisher.rest()).await).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_published_even_if_the_client_has_left() {
    let mut served = serve();

    for n in 0..200 {
        served
            .connect()
            .write(format!("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{n:03}"));
    }
    served.drain().await;

    let mut data = served.data("a");
    data.sort_unstable();
    assert!(data.iter().map(|n| n.parse::<u32>().unwrap()).eq(0..200), "{} of 200", data.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_frames_share_one_socket() {
    let served = serve();

    let head = "POST /channels/a HTTP/1.0";
    assert_eq!(ask(&served, head, "by http").await.status, 200);
    assert!(served.say("channel: a\ndata: by frame\n\n").await.starts_with("ok "));
    let mut slow = served.connect();
    for byte in b"POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow"
    {
        slow.write([*byte]);
    }

    assert_eq!(Answer::of(&blocking(move || slow.rest()).await).status, 200);
    assert_eq!(served.data("a"), ["by http", "by frame", "slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_can_be_listed_and_looked_at() {
    let served = serve();
    served.say("channel: news\ndata: 1\n\ndata: 2\n\nchannel: ticker.a\ndata: 3\n\nchannel: ticker.b\nclose:\n\n").await;
    let names = |answer: Answer| -> Vec<String> {
        let list = answer.json();
        list.as_array().unwrap().iter().map(|state| state["channel"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(names(ask(&served, "GET /channels HTTP/1.1", "").await), ["news", "ticker.a", "ticker.b"]);
    assert_eq!(names(ask(&served, "GET /channels?limit=1&after=news HTTP/1.1", "").await), ["ticker.a"]);
    assert_eq!(
        names(ask(&served, "GET /channels?match=ticker.* HTTP/1.1", "").await),
        ["ticker.a", "ticker.b"]
    );

    let news = ask(&served, "GET /channels/news HTTP/1.1", "").await.json();
    assert_eq!(news["subscribers"], 0);
    assert_eq!(news["events"], 2);
    assert_eq!(news["closed"], false);
    assert!(
        news["oldest"].as_str().unwrap().ends_with("-1") && news["newest"].as_str().unwrap().ends_with("-2")
    );
    assert!(news["bytes"].as_u64().unwrap() > 0);

    for query in ["limit=0", "limit=1001", "limit=x", "match=%5B"] {
        let answer = ask(&served, &format!("GET /channels?{query} HTTP/1.1"), "").await;
        assert_eq!(answer.refusal(), (400, "bad-value".to_owned()), "{query}");
    }
    assert_eq!(
        ask(&served, "GET /channels/none HTTP/1.1", "").await.refusal(),
        (404, "not-found".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channels_history_is_json() {
    let served = serve();
    served.say("channel: a\nid: first\nevent: e\ndata: 1\n\ndata: 2\n\ndata: 3\n\n").await;

    let all = ask(&served, "GET /channels/a/events HTTP/1.1", "").await.json();
    let some = ask(&served, "GET /channels/a/events?after=first&limit=1 HTTP/1.1", "").await.json();

    assert_eq!(all.as_array().unwrap().len(), 3);
    assert_eq!(all[0]["id"], "first");
    assert_eq!(all[0]["event"], "e");
    assert_eq!(all[0]["data"], "1");
    assert!(all[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(all[1]["event"], Value::Null);
    assert_eq!(some.as_array().unwrap().len(), 1);
    assert_eq!(some[0]["data"], "2");
    let unknown = ask(&served, "GET /channels/none/events HTTP/1.1", "").await;
    assert_eq!(unknown.refusal(), (404, "not-found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_can_be_followed_from_where_one_was() {
    let served = serve();
    served.say("channel: a\nid: first\ndata: 1\n\ndata: 2\n\n").await;
    let mut follower = served.connect();

    follower.write(
        "GET /channels/a/events?last_event_id=nonsense HTTP/1.1\r\nHost: x\r\n\
         Accept: text/event-stream\r\nLast-Event-ID: first\r\n\r\n",
    );
    let (mut follower, replayed) = blocking(move || {
        let mut read = String::new();
        while !read.contains("data: 2\n") && !read.contains("data:2\n") {
            read.push_str(&follower.line());
        }
        (follower, read)
    })
    .await;
    let reply = served.say("channel: a\ndata: 3\n\n").await;

    assert!(replayed.starts_with("HTTP/1.1 200 OK\r\n"), "{replayed}");
    assert!(!replayed.contains("outboard.gap"), "{replayed}");
    assert!(reply.ends_with(" 0 accepted\n"), "an onlooker is no receiver: {reply}");
    blocking(move || {
        let mut byte = [0];
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(" 3\n") && !read.ends_with(b"data:3\n") {
            assert_eq!(follower.0.read(&mut byte).unwrap(), 1);
            read.push(byte[0]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_can_be_closed_again_and_again() {
    let served = serve();
    served.say("channel: a\ndata: 1\n\n").await;

    for _ in 0..2 {
        assert_eq!(ask(&served, "DELETE /channels/a HTTP/1.1", "").await.status, 200);
    }

    assert_eq!(ask(&served, "GET /channels/a HTTP/1.1", "").await.json()["closed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_can_be_ended() {
    let served = serve();

    let answer = ask(&served, "DELETE /subjects/alice%20b HTTP/1.1", "").await;

    assert_eq!((answer.status, answer.json()), (200, json!({ "subject": "alice b", "ended": 0 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_cannot_be_done_is_said_as_json() {
    let served = serve();

    let lost = ask(&served, "GET /chanels HTTP/1.1", "").await;
    assert_eq!(lost.refusal(), (404, "not-found".to_owned()));
    let method = ask(&served, "PUT /channels/a HTTP/1.1", "1").await;
    assert_eq!(method.refusal(), (405, "method-not-allowed".to_owned()));
    assert!(method.head.contains("\r\nallow: get, head, post, delete"), "{}", method.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_whether_the_backend_can_be_reached() {
    let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", backend.local_addr().unwrap());
    let served = serve_before(roomy(), |_| {}, &url);

    assert_eq!(ask(&served, "GET /healthz HTTP/1.1", "").await.status, 200);
    let ready = ask(&served, "GET /readyz HTTP/1.1", "").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "backend": "ok", "store": "ok" })));

    drop(backend);
    let ready = ask(&served, "GET /readyz HTTP/1.1", "").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert!(ready.json()["backend"].as_str().unwrap().contains(&url));
    assert_eq!(ask(&served, "GET /healthz HTTP/1.1", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_has_no_body() {
    let served = serve();

    let answer = ask(&served, "HEAD /healthz HTTP/1.1", "").await;

    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}
