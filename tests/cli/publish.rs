//! `outboard publish`.

use std::thread::spawn;

use crate::scripted::*;

#[test]
fn a_publish_sends_one_frame_and_prints_the_reply() {
    let socket = Socket::new();
    let mut client = socket.client(&[
        "publish", "job-42", "-5", "--event", "progress", "--id", "7", "--ttl", "60", "--dedupe", "k",
    ]);
    let outboard = socket.answer_frames(&["ok e-1 17 accepted"]);

    let result = run(&mut client);

    assert_eq!(
        outboard.join().unwrap(),
        ["channel: job-42\nevent: progress\nid: 7\ndata: -5\nttl: 60\ndedupe: k"]
    );
    assert_eq!(result, (0, "e-1 17 accepted\n".into(), String::new()));
}

#[test]
fn a_reply_can_be_had_as_json() {
    let socket = Socket::new();
    let mut client = socket.client(&["publish", "a", "x", "--json"]);
    let outboard = socket.answer_frames(&["ok e-1 1 stored duplicate"]);

    let (code, out, _) = run(&mut client);

    outboard.join().unwrap();
    assert_eq!(code, 0);
    assert_eq!(out, "{\"duplicate\":true,\"id\":\"e-1\",\"level\":\"stored\",\"receivers\":1}\n");
}

#[test]
fn standard_input_is_published_without_its_last_line_break() {
    let socket = Socket::new();
    let mut client = socket.client(&["publish", "a"]);
    let outboard = socket.answer_frames(&["ok e-1 0 accepted"]);

    let mut child = start(&mut client);
    feed(child.stdin.take().unwrap(), b"one\ndata: two\n\n");

    assert_eq!(told(child.wait_with_output().unwrap()).0, 0);
    assert_eq!(outboard.join().unwrap(), ["channel: a\ndata: one\ndata: data: two\ndata:"]);
}

#[test]
fn closing_does_not_wait_for_standard_input() {
    let socket = Socket::new();
    let mut client = socket.client(&["publish", "a", "--close"]);
    let outboard = socket.answer_frames(&["ok"]);

    let mut child = start(&mut client);
    let held_open = child.stdin.take();

    assert!(child.wait().unwrap().success());
    assert_eq!(outboard.join().unwrap(), ["channel: a\nclose:"]);
    drop(held_open);
}

#[test]
fn data_that_is_not_utf8_is_refused_with_its_place() {
    let socket = Socket::new();
    let mut child = start(&mut socket.client(&["publish", "a"]));
    feed(child.stdin.take().unwrap(), b"caf\xe9");

    let (code, _, told) = told(child.wait_with_output().unwrap());

    assert_eq!(code, 1);
    assert!(told.contains("not UTF-8 from byte 3 on"), "{told}");
}

#[test]
fn a_refusal_is_told_in_outboards_words() {
    let socket = Socket::new();
    let mut client = socket.client(&["publish", "a", "x"]);
    let outboard = socket.answer_frames(&["error too-large an event has at most 10 bytes"]);

    let result = run(&mut client);

    outboard.join().unwrap();
    assert_eq!(
        result,
        (
            1,
            String::new(),
            "outboard: nothing was published: an event has at most 10 bytes (too-large)\n".into()
        )
    );
}

#[test]
fn a_connection_that_ends_early_is_a_failure() {
    let socket = Socket::new();
    let mut client = socket.client(&["publish", "a", "x"]);
    let outboard = spawn(move || drop(socket.accept()));

    let (code, _, told) = run(&mut client);

    outboard.join().unwrap();
    assert_eq!(code, 1);
    assert!(told.contains("closed the connection before it answered"), "{told}");
}
