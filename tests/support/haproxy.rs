//! HAProxy in front of a site, as a peer to compare with.

use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::{Site, folder, ports};

/// A running HAProxy.
pub struct Haproxy {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Haproxy {
    /// Starts one by this configuration; `{port}` is filled in.
    pub fn start(configuration: &str) -> Self {
        let folder = folder::shared();
        let port = ports::free();
        let conf = configuration.replace("{port}", &port.to_string());
        let file = folder::write(folder.path(), "haproxy.cfg", &conf);
        let mut command = Command::new("/usr/sbin/haproxy");
        // With a master process it says when it listens; without one it says nothing.
        command.args(["-W", "-db", "-f"]).arg(file);
        let process = Process::start("haproxy", &mut command);
        process.wait_for("that it serves", |line| line.contains("Loading success").then_some(()));
        Self { process, port, folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Site for Haproxy {
    fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
