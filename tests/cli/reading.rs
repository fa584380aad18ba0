//! `outboard tail` and `outboard channels`.

use crate::scripted::*;

#[test]
fn a_channel_is_followed_across_a_restart_until_it_is_closed() {
    let socket = Socket::new();
    let child = start(&mut socket.client(&["tail", "job 42".replace(' ', "-").as_str(), "--replay", "all"]));

    let mut first = socket.accept();
    let request = first.block().to_lowercase();
    first.answer(
        "200 OK",
        "text/event-stream",
        "retry: 1\n\nid: e-1\ndata: one\ndata: more\n\nid: e-2\ndata: two\n\n",
    );
    let mut second = socket.accept();
    let resumed = second.block().to_lowercase();
    second.write("HTTP/1.1 204 No Content\r\n\r\n");
    let (code, out, told) = told(child.wait_with_output().unwrap());

    assert!(request.starts_with("get /channels/job%2d42/events?replay=all http/1.1"), "{request}");
    assert!(!request.contains("last-event-id"));
    assert!(resumed.contains("last-event-id: e-2"), "{resumed}");
    assert_eq!((code, out.as_str()), (0, "one\nmore\ntwo\n"));
    assert_eq!(told, "outboard: the channel is closed\n");
}

#[test]
fn events_can_be_had_as_json() {
    let socket = Socket::new();
    let child = start(&mut socket.client(&["tail", "a", "--json"]));

    socket.accept_and_answer_events("id: 7\nevent: tick\ndata: 1\n\n");
    socket.accept_and_close_channel();
    let (code, out, _) = told(child.wait_with_output().unwrap());

    assert_eq!((code, out.as_str()), (0, "{\"data\":\"1\",\"event\":\"tick\",\"id\":\"7\"}\n"));
}

#[test]
fn channels_are_listed_page_by_page() {
    let socket = Socket::new();
    let child = start(&mut socket.client(&["channels", "--match", "job-*"]));

    let requests =
        [socket.answer_page(&["job-1", "job-2"]), socket.answer_page(&["job-3"]), socket.answer_page(&[])];
    let (code, out, _) = told(child.wait_with_output().unwrap());

    assert_eq!(
        requests,
        [
            "GET /channels?limit=500&match=job-* HTTP/1.1",
            "GET /channels?limit=500&match=job-*&after=job-2 HTTP/1.1",
            "GET /channels?limit=500&match=job-*&after=job-3 HTTP/1.1",
        ]
    );
    assert_eq!(code, 0);
    assert_eq!(out, "job-1\t2\t3\t4\te-9\topen\njob-2\t2\t3\t4\te-9\topen\njob-3\t2\t3\t4\te-9\topen\n");
}

#[test]
fn a_refused_request_is_told_in_outboards_words() {
    let socket = Socket::new();
    let child = start(&mut socket.client(&["channels", "--match", "["]));

    let mut connection = socket.accept();
    connection.block();
    connection.answer(
        "400 Bad Request",
        "application/json",
        r#"{"error":"bad-value","message":"`[` is no pattern"}"#,
    );
    let (code, _, told) = told(child.wait_with_output().unwrap());

    assert_eq!((code, told.as_str()), (1, "outboard: `[` is no pattern (bad-value)\n"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let socket = Socket::new();
    let mut child = start(&mut socket.client(&["channels"]));
    drop(child.stdout.take());

    socket.answer_page(&["a"]);

    let (code, _, told) = told(child.wait_with_output().unwrap());
    assert_eq!((code, told.as_str()), (0, ""));
}
