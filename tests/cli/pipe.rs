//! `outboard pipe`.

use std::io::{Read, Write};

use crate::scripted::*;

#[test]
fn every_line_becomes_an_event_with_a_key_of_its_own() {
    let socket = Socket::new();
    let mut client = socket.client(&["pipe", "log", "--event", "line", "--close"]);
    let outboard =
        socket.answer_frames(&["ok e-1 1 accepted", "ok e-2 1 accepted", "ok e-3 1 accepted", "ok"]);

    let mut child = start(&mut client);
    feed(child.stdin.take().unwrap(), b"one\r\n\ncaf\xe9");
    let (code, out, told) = told(child.wait_with_output().unwrap());

    let frames = outboard.join().unwrap();
    let data: Vec<_> = frames.iter().map(|frame| field(frame, "data")).collect();
    let keys: Vec<_> = frames[..3].iter().map(|frame| field(frame, "dedupe").unwrap()).collect();
    assert_eq!(data, [Some("one"), Some(""), Some("caf\u{fffd}"), None]);
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    assert!(frames[..3].iter().all(|frame| field(frame, "event") == Some("line")));
    assert!(frames[3].ends_with("close:"));
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(told.starts_with("outboard: line 3 is not UTF-8"), "{told}");
}

#[test]
fn a_line_is_sent_while_the_job_still_runs() {
    let socket = Socket::new();
    let mut child = start(&mut socket.client(&["pipe", "log"]));
    let mut stdin = child.stdin.take().unwrap();
    let mut connection = socket.accept();

    stdin.write_all(b"half").unwrap();
    stdin.write_all(b" done\n").unwrap();

    assert_eq!(field(&connection.block(), "data"), Some("half done"));
    connection.write("ok e-1 0 accepted\n");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn lines_without_a_reply_are_sent_again_under_their_keys() {
    let socket = Socket::new();
    let mut child = start(&mut socket.client(&["pipe", "log"]));
    feed(child.stdin.take().unwrap(), b"one\ntwo\nthree\n");

    let mut first = socket.accept();
    let lost: Vec<_> = (0..3).map(|_| first.block()).collect();
    first.write("ok e-1 0 accepted\n");
    drop(first);
    let mut second = socket.accept();
    let again: Vec<_> = (0..2).map(|_| second.block()).collect();
    second.write("ok e-2 0 accepted duplicate\nok e-3 0 accepted\n");
    let (code, _, told) = told(child.wait_with_output().unwrap());

    assert_eq!(again, lost[1..]);
    assert_eq!(code, 0);
    assert!(told.contains("outboard has gone"), "{told}");
    assert!(told.contains("back again"), "{told}");
}

#[test]
fn a_refused_line_does_not_stop_the_others() {
    let socket = Socket::new();
    let mut client = socket.client(&["pipe", "log"]);
    let outboard =
        socket.answer_frames(&["ok e-1 0 accepted", "error too-large at most 10 bytes", "ok e-2 0 accepted"]);

    let mut child = start(&mut client);
    feed(child.stdin.take().unwrap(), b"one\ntwo\nthree\n");
    let (code, _, told) = told(child.wait_with_output().unwrap());

    assert_eq!(outboard.join().unwrap().len(), 3);
    assert_eq!(code, 1);
    assert_eq!(told, "outboard: a line was refused: at most 10 bytes (too-large)\n");
}

#[test]
fn a_pipe_that_is_closed_at_once_publishes_nothing() {
    let socket = Socket::new();
    let child = start(&mut socket.client(&["pipe", "log"]));
    let mut connection = socket.accept();

    let (code, out, told) = told(child.wait_with_output().unwrap());

    let mut rest = String::new();
    connection.0.read_to_string(&mut rest).unwrap();
    assert_eq!((code, out.as_str(), told.as_str(), rest.as_str()), (0, "", "", ""));
}
