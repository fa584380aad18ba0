//! `outboard pipe`.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

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
    assert_eq!(data, [Some("one"), Some(""), Some("café"), None]);
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

    stdin.write_all(b"half").unwrap();
    stdin.write_all(b" done\n").unwrap();

    let mut connection = socket.accept();
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
    assert!(told.contains("closed the connection"), "{told}");
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

    let (code, out, told) = run(&mut socket.client(&["pipe", "log"]));

    assert_eq!((code, out.as_str(), told.as_str()), (0, "", ""));
    socket.nobody_came_with_a_frame();
}

/// A shell's `job | outboard ARGUMENTS`, in a folder of its own, where a job leaves the file `done`.
fn piped(job: &str, arguments: &str, folder: &TempDir) -> (i32, String, String) {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{{ {job}; }} | \"$OUTBOARD\" {arguments}"));
    shell
        .env("OUTBOARD", env!("CARGO_BIN_EXE_outboard"))
        .env("OUTBOARD_SOCKET", folder.path().join("p.sock"));
    told(shell.current_dir(folder.path()).output().unwrap())
}

/// Three lines, then more than a pipe holds; a job that ends of SIGPIPE leaves no `done`.
const LONG_JOB: &str = "sh -c 'for i in 1 2 3; do echo $i; done; seq 1 200000 && touch done'";

#[test]
fn a_job_ends_well_while_outboard_is_down_and_what_was_lost_is_said() {
    let folder = TempDir::new().unwrap();

    let (code, _, told) = piped(LONG_JOB, "pipe x --wait 300ms", &folder);

    assert!(folder.path().join("done").exists(), "the job was harmed: {told}");
    assert_eq!(code, 1);
    assert!(told.contains("is outboard running? Nobody listens on"), "{told}");
    assert!(told.contains("lines were lost"), "{told}");
}

#[test]
fn a_job_ends_well_while_outboard_stands_still() {
    let folder = TempDir::new().unwrap();
    // Connections are taken by the system, and nobody ever reads them: a stopped outboard.
    let _stopped = UnixListener::bind(folder.path().join("p.sock")).unwrap();

    let (code, _, told) = piped(LONG_JOB, "pipe x --wait 300ms", &folder);

    assert!(folder.path().join("done").exists(), "the job was harmed: {told}");
    assert_eq!(code, 1);
    assert!(told.contains("200003 lines were lost"), "{told}");
}

#[test]
fn a_job_ends_well_whatever_is_wrong_with_the_way_the_pipe_is_called() {
    for arguments in ["pipe 'a b'", "pipe x --evnt e", "pipe", "pipe x --config /nowhere/o.toml"] {
        let folder = TempDir::new().unwrap();

        let (code, _, told) = piped(LONG_JOB, arguments, &folder);

        assert!(folder.path().join("done").exists(), "{arguments}: the job was harmed: {told}");
        // The last one has a socket by its variable, so that its file does not matter.
        assert_eq!(code, if arguments.contains("config") { 1 } else { 2 }, "{arguments}: {told}");
        assert_ne!(told, "", "{arguments}");
    }
}

#[test]
fn lines_from_before_outboard_was_there_are_published_in_order() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("p.sock");
    let mut child = start(outboard(&["pipe", "log"]).env("OUTBOARD_SOCKET", &path));
    let told = lines_of(child.stderr.take().unwrap());
    feed(child.stdin.take().unwrap(), b"one\ntwo\n");
    assert!(told.recv_timeout(DEADLINE).unwrap().contains("is outboard running?"));

    let frames = Socket::at(path, folder).answer_frames(&["ok e-1 0 accepted", "ok e-2 0 accepted"]);

    assert!(child.wait().unwrap().success());
    let data: Vec<_> = frames.join().unwrap().iter().map(|f| field(f, "data").unwrap().to_owned()).collect();
    assert_eq!(data, ["one", "two"]);
}

#[test]
fn the_oldest_lines_go_when_the_spool_is_full_and_are_counted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("p.sock");
    let mut child =
        start(outboard(&["pipe", "log", "--spool", "4KiB", "--close"]).env("OUTBOARD_SOCKET", &path));
    let text: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    feed(child.stdin.take().unwrap(), text.as_bytes());
    let told = lines_of(child.stderr.take().unwrap());
    while !told.recv_timeout(DEADLINE).unwrap().contains("the input has ended") {}

    let mut connection = Socket::at(path, folder).accept();
    let mut data = Vec::new();
    loop {
        let frame = connection.block();
        if frame.ends_with("close:") {
            break;
        }
        data.push(field(&frame, "data").unwrap().parse::<u64>().unwrap());
        connection.write("ok e-1 0 accepted\n");
    }
    connection.write("ok\n");

    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!((5..100).contains(&data.len()), "{}", data.len());
    assert_eq!(data, (1001 - data.len() as u64..=1000).collect::<Vec<_>>(), "the newest, in order");
    let lost = format!("{} lines were lost", 1000 - data.len());
    let told: Vec<_> = told.iter().collect();
    assert!(told.iter().any(|line| line.contains(&lost)), "{told:?}");
}

#[test]
fn a_passing_refusal_is_tried_again_under_the_same_key() {
    let socket = Socket::new();
    let mut child = start(&mut socket.client(&["pipe", "log"]));
    feed(child.stdin.take().unwrap(), b"one\n");

    let mut first = socket.accept();
    let refused = first.block();
    first.write("error store the disk is full\n");
    let mut second = socket.accept();
    let again = second.block();
    second.write("ok e-1 0 accepted\n");

    assert_eq!(refused, again);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_tee_passes_every_byte_on_and_its_reader_may_leave() {
    let folder = TempDir::new().unwrap();
    let job = r"printf 'caf\351\r\n\nlast'";

    let (_, out, _) = piped(job, "pipe x --wait 10ms --tee | od -An -c", &folder);
    let (_, first, _) = piped(LONG_JOB, "pipe x --wait 10ms --tee | head -n 1", &folder);

    assert_eq!(out.split_whitespace().collect::<String>(), r"caf351\r\n\nlast");
    assert_eq!(first, "1\n");
    assert!(folder.path().join("done").exists(), "the job was harmed");
}

#[test]
fn a_signal_for_the_job_leaves_its_last_lines_to_be_published() {
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        let socket = Socket::new();
        let mut child = start(&mut socket.client(&["pipe", "log"]));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"one\n").unwrap();
        let mut connection = socket.accept();
        assert_eq!(field(&connection.block(), "data"), Some("one"));

        kill_process(Pid::from_child(&child), signal).unwrap();
        stdin.write_all(b"cleaned up\n").unwrap();
        drop(stdin);

        assert_eq!(field(&connection.block(), "data"), Some("cleaned up"), "{signal:?}");
        connection.write("ok e-1 0 accepted\nok e-2 0 accepted\n");
        assert!(child.wait().unwrap().success(), "{signal:?}");
    }
}
