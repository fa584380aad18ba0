//! The real `outboard`, as an operator would start it.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::{Answer, Request, Response, Stream};
use super::process::Process;
use super::{DEADLINE, Site, folder};

/// An `outboard` that is about to start.
pub struct Builder {
    backend: String,
    config: String,
    variables: Vec<(String, String)>,
    folder: TempDir,
}

impl Builder {
    /// Adds tables to its configuration. `[backend]` and `[publish]` are there already.
    #[must_use]
    pub fn with_config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Sets a variable of its environment, as in `OUTBOARD__STREAM__KEEP_ALIVE`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Where its publish socket is going to be, for scripts that must know it before.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("publish.sock")
    }

    /// Stands it in front of another site than it was made for.
    #[must_use]
    pub fn in_front_of(mut self, backend: &(impl Site + ?Sized)) -> Self {
        self.backend = backend.url();
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Outboard {
        let (process, address) = self.run("127.0.0.1:0");
        Outboard { process, address, builder: self }
    }

    /// Starts it when it writes its log to this file, and says nothing.
    pub fn start_quietly(self, log: &Path) -> Outboard {
        let process = self.spawn("127.0.0.1:0");
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            if said.contains("taking events") {
                let address = said.lines().find_map(listening).unwrap();
                return Outboard { process, address, builder: self };
            }
            assert!(std::time::Instant::now() < deadline, "it never listens: {said}");
            std::thread::yield_now();
        }
    }

    fn run(&self, listen: &str) -> (Process, String) {
        let process = self.spawn(listen);
        let address = process.wait_for("where it listens", listening);
        (process, address)
    }

    fn spawn(&self, listen: &str) -> Process {
        let toml = format!(
            "listen = [\"{listen}\"]\n\n[backend]\nurl = \"{}\"\n\n[publish]\nsocket = {:?}\nmode = \"0666\"\n\n{}",
            self.backend,
            self.socket(),
            self.config,
        );
        let file = folder::write(self.folder.path(), "outboard.toml", &toml);
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.arg("run").arg("--config").arg(file);
        command.env_remove("RUST_LOG").envs(self.variables.clone());
        Process::start("outboard", &mut command)
    }
}

/// Finds the address in the log line that says where clients may come in.
fn listening(line: &str) -> Option<String> {
    // Colours, if any, stand around the field's name.
    let line = strip_colours(line);
    if !line.contains("listening") {
        return None;
    }
    let (_, address) = line.split_once("address=")?;
    let address = address.split_whitespace().next()?.trim_matches('"');
    address.contains(':').then(|| address.to_owned()).filter(|address| !address.contains('/'))
}

fn strip_colours(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
}

/// A running `outboard`.
pub struct Outboard {
    process: Process,
    address: String,
    builder: Builder,
}

/// What the publish socket answered to a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub id: String,
    pub receivers: usize,
    pub level: String,
    pub duplicate: bool,
}

impl Reply {
    /// Reads `ok ID RECEIVERS LEVEL [duplicate]`.
    pub fn parse(line: &str) -> Self {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["ok", id, receivers, level] => Self::new(id, receivers, level, false),
            ["ok", id, receivers, level, "duplicate"] => Self::new(id, receivers, level, true),
            _ => panic!("not the reply to a publish: {line:?}"),
        }
    }

    fn new(id: &str, receivers: &str, level: &str, duplicate: bool) -> Self {
        Self { id: id.into(), receivers: receivers.parse().unwrap(), level: level.into(), duplicate }
    }
}

impl Outboard {
    /// One that stands in front of `backend`.
    pub fn behind(backend: &(impl Site + ?Sized)) -> Builder {
        Builder {
            backend: backend.url(),
            config: String::new(),
            variables: Vec::new(),
            folder: folder::shared(),
        }
    }

    /// One whose backend is started later: for backends that must know the socket first.
    pub fn prepare() -> Builder {
        Self::behind("http://127.0.0.1:9")
    }

    /// Where clients come in, as in `127.0.0.1:41233`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn socket(&self) -> PathBuf {
        self.builder.socket()
    }

    pub fn folder(&self) -> &Path {
        self.builder.folder.path()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn get(&self, path: &str) -> Response {
        Request::get(path).send(&self.address)
    }

    pub fn send(&self, request: &Request) -> Response {
        request.send(&self.address)
    }

    pub fn open(&self, request: &Request) -> Answer {
        request.open(&self.address)
    }

    /// Opens a stream as an `EventSource` would.
    pub fn subscribe(&self, path: &str) -> Stream {
        subscribe(&self.address, path, None)
    }

    /// Opens a stream as an `EventSource` would that comes back.
    pub fn resume(&self, path: &str, last_event_id: &str) -> Stream {
        subscribe(&self.address, path, Some(last_event_id))
    }

    /// Publishes one event, as `printf … | nc -NU` would.
    pub fn publish(&self, channel: &str, data: &str) -> Reply {
        let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
        let mut replies = self.frames(format!("channel: {channel}\n{lines}\n"));
        assert_eq!(replies.len(), 1, "{replies:?}");
        Reply::parse(&replies.remove(0))
    }

    /// Writes `frames` to the publish socket on a connection of their own; every reply to them.
    pub fn frames(&self, frames: impl AsRef<[u8]>) -> Vec<String> {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(frames.as_ref()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        BufReader::new(socket).lines().map(|line| line.expect("replies until the end")).collect()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait()
    }

    /// Waits until it has ended by itself.
    pub fn stopped(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Kills it, as a crash would, and starts it again on the same address.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        let address = self.address.clone();
        (self.process, self.address) = self.builder.run(&address);
    }
}

/// Opens a stream at `address` as an `EventSource` would.
pub fn subscribe(address: &str, path: &str, last_event_id: Option<&str>) -> Stream {
    let mut request = Request::get(path)
        .header("Accept", "text/event-stream")
        .header("Cache-Control", "no-cache")
        .header("Accept-Encoding", "gzip, deflate, br, zstd");
    if let Some(id) = last_event_id {
        request = request.header("Last-Event-ID", id);
    }
    request.open(address).into_stream()
}

impl Site for Outboard {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
