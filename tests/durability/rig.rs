//! A place for one `outboard` that is started again and again.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::{Backend, DEADLINE, Site as _, folder, ports};

/// Where the log is to live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Store {
    Memory,
    /// On disk, with this `durability`.
    Disk(&'static str),
}

/// The channels of all tests. Events of the last one carry ids of their publisher.
pub(crate) const CHANNELS: [&str; 3] = ["news", "chat", "own"];

/// A configuration, an address and a folder.
pub(crate) struct Rig {
    folder: TempDir,
    pub(crate) address: String,
    store: Store,
    path: PathBuf,
    more: String,
    keep_alive: &'static str,
    backend: Backend,
}

impl Rig {
    pub(crate) fn new(store: Store) -> Self {
        let folder = folder::shared();
        let path = folder.path().join("store");
        let address = format!("127.0.0.1:{}", ports::free());
        Self {
            folder,
            address,
            store,
            path,
            more: String::new(),
            keep_alive: "15s",
            backend: Backend::greeting(),
        }
    }

    /// With the store in this folder.
    pub(crate) fn with_store_in(mut self, path: &Path) -> Self {
        self.path = path.into();
        self
    }

    /// With other limits of the history than "keep everything".
    pub(crate) fn with_history(mut self, toml: &str) -> Self {
        self.more = toml.into();
        self
    }

    /// With a sign of life on silent streams so often.
    pub(crate) fn with_keep_alive(mut self, period: &'static str) -> Self {
        self.keep_alive = period;
        self
    }

    /// The folder of the store.
    pub(crate) fn store(&self) -> &Path {
        &self.path
    }

    /// The publish socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("publish.sock")
    }

    /// Any file of this test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        let store = match self.store {
            Store::Memory => "store = \"memory\"".into(),
            Store::Disk(level) => {
                format!("store = \"disk\"\npath = {:?}\ndurability = \"{level}\"", self.path)
            }
        };
        let limits = "max_events = 1000000\nmax_age = \"24h\"\nmax_bytes = \"1GiB\"\ntotal_bytes = \"1GiB\"";
        let limits = if self.more.is_empty() { limits } else { &self.more };
        format!(
            "listen = [\"{}\"]\n[backend]\nurl = \"{}\"\n[publish]\nsocket = {:?}\nmode = \"0666\"\n\
             [history]\n{store}\n{limits}\n[stream]\nretry = \"100ms\"\nkeep_alive = \"{}\"\n\
             [[event_route]]\npath = \"/events\"\nchannels = [\"{{query.c}}\"]\nauth = \"none\"\nreplay = \"all\"\n",
            self.address,
            self.backend.url(),
            self.socket(),
            self.keep_alive,
        )
    }

    /// Starts the program, and waits for nothing.
    pub(crate) fn spawn(&self, variables: &[(&str, String)]) -> Process {
        let file = folder::write(self.folder.path(), "outboard.toml", &self.config());
        // Another one, to see whether the tests find its fault.
        let other = std::env::var_os("OUTBOARD_PROGRAM");
        let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_outboard").into()));
        command.arg("run").arg("--config").arg(file).env_remove("RUST_LOG");
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        Process::start("outboard", &mut command)
    }

    /// Starts the program and waits until publishers can connect.
    pub(crate) fn start(&self) -> Process {
        let process = self.spawn(&[]);
        self.wait_until_up(&process);
        process
    }

    pub(crate) fn wait_until_up(&self, process: &Process) {
        process.wait_for("that it listens", |line| line.contains("listening").then_some(()));
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(begun.elapsed() < DEADLINE, "the publish socket never opened:\n{}", process.log());
            std::thread::yield_now();
        }
    }
}
