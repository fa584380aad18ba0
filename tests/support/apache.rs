//! Apache: as the legacy site behind `outboard`, and as a proxy in front of it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::{Outboard, Site, folder, ports};

/// A running Apache.
pub struct Apache {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Apache {
    /// The legacy site of `tests/site`, with CGI scripts that publish to `socket`.
    pub fn with_site(socket: &Path) -> Self {
        Self::with_site_and(socket, "")
    }

    /// The same, with more lines of configuration.
    pub fn with_site_and(socket: &Path, more: &str) -> Self {
        let site = include_str!("apache_site.conf");
        Self::start(&format!("{site}\n{more}"), |root| folder::copy_site(&root.join("www"), socket))
    }

    /// A proxy in front of `outboard`, by the configuration file that we ship.
    pub fn in_front_of(outboard: &Outboard) -> Self {
        let shipped =
            folder::shipped("deploy/apache/outboard.conf", &[("127.0.0.1:8000", outboard.address())]);
        Self::start(&shipped, |_| {})
    }

    /// Starts one with these lines behind the common ones; `{folder}` and `{port}` are filled in.
    pub fn start(site: &str, prepare: impl Fn(&Path)) -> Self {
        let folder = folder::shared();
        prepare(folder.path());
        let port = ports::free();
        let conf = [include_str!("apache.conf"), site]
            .concat()
            .replace("{folder}", folder.path().to_str().unwrap())
            .replace("{port}", &port.to_string());
        let file = folder::write(folder.path(), "apache.conf", &conf);
        let mut command = Command::new("/usr/sbin/apache2");
        let process = Process::start("apache2", command.args(["-D", "FOREGROUND", "-f"]).arg(file));
        process.wait_for("that it serves", |line| line.contains("resuming normal operations").then_some(()));
        Self { process, port, folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its site's scripts.
    pub fn www(&self) -> std::path::PathBuf {
        self.folder.path().join("www")
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Site for Apache {
    fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
