//! The binary, and an outboard whose answers a test writes itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use tempfile::TempDir;

/// How long a test waits for a fact before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The binary, in an environment of its own.
pub(crate) fn outboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    told(command.output().unwrap())
}

pub(crate) fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A socket in a folder of its own, on which a test says what is answered.
pub(crate) struct Socket {
    listener: UnixListener,
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

impl Socket {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self::at(folder.path().join("publish.sock"), folder)
    }

    pub(crate) fn at(path: PathBuf, folder: TempDir) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        // It holds for `accept` too: a client that never comes fails the test.
        socket2::SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
        Self { listener, path, _folder: folder }
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = outboard(arguments);
        command.env("OUTBOARD_SOCKET", &self.path);
        command
    }

    pub(crate) fn accept(&self) -> Connection {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Connection(BufReader::new(stream))
    }

    /// Whoever has connected by now has sent nothing.
    pub(crate) fn nobody_came_with_a_frame(&self) {
        self.listener.set_nonblocking(true).unwrap();
        while let Ok((mut stream, _)) = self.listener.accept() {
            let mut sent = String::new();
            stream.read_to_string(&mut sent).unwrap();
            assert_eq!(sent, "");
        }
    }

    /// Answers the first connection's frames with these lines, and returns the frames.
    pub(crate) fn answer_frames(self, replies: &'static [&'static str]) -> JoinHandle<Vec<String>> {
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
pub(crate) struct Connection(pub(crate) BufReader<UnixStream>);

impl Connection {
    /// A frame, or the head of a request: what stands before the next blank line.
    pub(crate) fn block(&mut self) -> String {
        let mut block = String::new();
        while !block.ends_with("\n\n") && !block.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut block).unwrap(), 0, "cut off: {block:?}");
        }
        block.trim_end().to_owned()
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn answer(&mut self, status: &str, kind: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

pub(crate) fn feed(mut stdin: ChildStdin, bytes: &[u8]) {
    stdin.write_all(bytes).unwrap();
}

pub(crate) fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a process says on standard error, line by line as it says it.
pub(crate) fn lines_of(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = channel();
    spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The value of a field in a frame.
pub(crate) fn field<'f>(frame: &'f str, name: &str) -> Option<&'f str> {
    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Socket {
    pub(crate) fn accept_and_answer_events(&self, events: &str) {
        let mut connection = self.accept();
        connection.block();
        connection.answer("200 OK", "text/event-stream", &format!("retry: 1\n\n{events}"));
    }

    pub(crate) fn accept_and_close_channel(&self) {
        let mut connection = self.accept();
        connection.block();
        connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    }

    /// Answers one request for channels, and returns its target.
    pub(crate) fn answer_page(&self, names: &[&str]) -> String {
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
