//! The command line: the real binary, with a scripted outboard behind its socket where it matters
//! what goes wrong when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken fixture is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread::{JoinHandle, spawn};

use tempfile::TempDir;

/// The binary, in an environment of its own.
fn outboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    told(command.output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A socket in a folder of its own, on which a test says what is answered.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _folder: TempDir,
}

impl Socket {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("publish.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path, _folder: folder }
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = outboard(arguments);
        command.env("OUTBOARD_SOCKET", &self.path);
        command
    }

    fn accept(&self) -> Connection {
        Connection(BufReader::new(self.listener.accept().unwrap().0))
    }

    /// Answers the first connection's frames with these lines, and returns the frames.
    fn answer_frames(self, replies: &'static [&'static str]) -> JoinHandle<Vec<String>> {
        spawn(move || {
            let mut connection = self.accept();
            replies
                .iter()
                .map(|reply| {
                    let frame = connection.block();
                    connection.write(&format!("{reply}\n"));
                    frame
                })
                .collect()
        })
    }
}

/// A client of the scripted outboard.
struct Connection(BufReader<UnixStream>);

impl Connection {
    /// A frame, or the head of a request: what stands before the next blank line.
    fn block(&mut self) -> String {
        let mut block = String::new();
        while !block.ends_with("\n\n") && !block.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut block).unwrap(), 0, "cut off: {block:?}");
        }
        block.trim_end().to_owned()
    }

    fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn answer(&mut self, status: &str, kind: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

fn feed(mut stdin: ChildStdin, bytes: &[u8]) {
    stdin.write_all(bytes).unwrap();
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The value of a field in a frame.
fn field<'f>(frame: &'f str, name: &str) -> Option<&'f str> {
    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn wrong_usage_ends_with_2_and_names_what_was_meant() {
    let (code, _, told) = run(&mut outboard(&["--too", "http://127.0.0.1:8080"]));
    assert_eq!(code, 2);
    assert!(told.contains("'--to'"), "{told}");

    let (code, _, told) = run(&mut outboard(&["publish", "a b", "data"]));
    assert_eq!(code, 2);
    assert!(told.contains("a channel name cannot contain ' '"), "{told}");

    let (code, _, told) = run(&mut outboard(&["publish", "a", "data", "--id", "a b"]));
    assert_eq!(code, 2);
    assert!(told.starts_with("outboard: --id: an id consists of visible ASCII"), "{told}");
}

#[test]
fn a_wrong_configuration_ends_with_2_and_the_report() {
    let (code, out, told) = run(outboard(&["--to", "ftp://example.com", "--socket", "/tmp/p.sock"])
        .env("OUTBOARD__HISTORY__STOR", "memory"));

    assert_eq!(code, 2);
    assert_eq!(out, "");
    assert_eq!(
        told,
        r#"error: `backend.url`: expected an address such as "http://127.0.0.1:8080" or "unix:/run/app.sock", not "ftp://example.com"
 |
 = note: from --to on the command line

error: unknown key `stor` in `history`
 |
 = note: from the variable OUTBOARD__HISTORY__STOR
 = help: did you mean OUTBOARD__HISTORY__STORE?
"#
    );
}

#[test]
fn without_anything_a_newcomer_is_told_what_to_type() {
    let (code, _, told) = run(&mut outboard(&["--socket", "/tmp/p.sock"]));

    assert_eq!(code, 2);
    assert!(told.contains("outboard --to http://127.0.0.1:8080"), "{told}");
}

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

#[test]
fn without_an_outboard_the_way_to_one_is_told() {
    for arguments in [&["publish", "a", "x"][..], &["pipe", "a"], &["tail", "a"], &["channels"]] {
        let (code, _, told) = run(outboard(arguments).env("OUTBOARD_SOCKET", "/nowhere/p.sock"));

        assert_eq!(code, 1);
        assert!(told.contains("is outboard running? Nobody listens on /nowhere/p.sock"), "{told}");
    }
}

#[test]
fn the_socket_is_found_by_the_configuration() {
    let socket = Socket::new();
    let file = socket.path.with_file_name("outboard.toml");
    std::fs::write(&file, format!("[publish]\nsocket = {:?}\n", socket.path)).unwrap();
    let mut client = outboard(&["publish", "a", "x", "--config", file.to_str().unwrap()]);
    let answering = socket.answer_frames(&["ok e-1 0 accepted"]);

    assert_eq!(run(&mut client).0, 0);
    answering.join().unwrap();
}

#[test]
fn a_user_without_a_configuration_has_a_socket_of_the_own() {
    let socket = Socket::new();
    let runtime = TempDir::new().unwrap();
    let own = runtime.path().join("outboard/publish.sock");
    std::fs::create_dir(own.parent().unwrap()).unwrap();
    let own = Socket { listener: UnixListener::bind(&own).unwrap(), path: own, _folder: runtime };
    let mut client = outboard(&["publish", "a", "x"]);
    client.env("XDG_RUNTIME_DIR", own.path.parent().and_then(Path::parent).unwrap());
    let answering = own.answer_frames(&["ok e-1 0 accepted"]);

    assert_eq!(run(&mut client).0, 0);
    answering.join().unwrap();
    drop(socket);
}

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

impl Socket {
    fn accept_and_answer_events(&self, events: &str) {
        let mut connection = self.accept();
        connection.block();
        connection.answer("200 OK", "text/event-stream", &format!("retry: 1\n\n{events}"));
    }

    fn accept_and_close_channel(&self) {
        let mut connection = self.accept();
        connection.block();
        connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    }

    /// Answers one request for channels, and returns its target.
    fn answer_page(&self, names: &[&str]) -> String {
        let channels: Vec<_> = names
            .iter()
            .map(|name| {
                format!(
                    r#"{{"channel":"{name}","subscribers":2,"events":3,"bytes":4,"oldest":null,"newest":"e-9","closed":false}}"#
                )
            })
            .collect();
        let mut connection = self.accept();
        let request = connection.block();
        connection.answer("200 OK", "application/json", &format!("[{}]", channels.join(",")));
        request.lines().next().unwrap().to_owned()
    }
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

#[test]
fn completions_and_manual_know_every_command() {
    let (code, script, _) = run(&mut outboard(&["completions", "bash"]));
    assert_eq!(code, 0);
    let (code, manual, _) = run(&mut outboard(&["man"]));
    assert_eq!(code, 0);

    for command in ["run", "check", "publish", "pipe", "tail", "channels", "demo", "completions", "man"] {
        assert!(script.contains(command), "{command}");
        assert!(manual.contains(&format!(".TH outboard-{command} 1")), "{command}");
    }
}

#[test]
fn help_shows_examples() {
    for command in ["run", "check", "publish", "pipe", "tail", "channels", "completions"] {
        let (code, out, _) = run(&mut outboard(&[command, "--help"]));

        assert_eq!(code, 0);
        assert!(out.contains("Examples:\n"), "{command}");
    }
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
