//! nginx in front of `outboard`.

use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::{Outboard, Site, folder, ports};

/// A running nginx.
pub struct Nginx {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Nginx {
    /// With nothing but `proxy_pass`: buffering on and HTTP/1.0 to the upstream, as Debian's comes.
    pub fn plain_in_front_of(outboard: &Outboard) -> Self {
        Self::with_location(outboard, "")
    }

    /// The same, with more lines in its only `location`.
    pub fn with_location(outboard: &Outboard, lines: &str) -> Self {
        let pass = format!("proxy_pass {};", outboard.url());
        Self::start(&format!("server {{ listen 127.0.0.1:{{port}}; location / {{ {pass} {lines} }} }}"))
    }

    /// By the configuration file that we ship.
    pub fn in_front_of(outboard: &Outboard) -> Self {
        Self::start(&folder::shipped(
            "deploy/nginx/outboard.conf",
            &[("127.0.0.1:8000", outboard.address()), ("listen 80;", "listen 127.0.0.1:{port};")],
        ))
    }

    /// Starts one with this inside of `http`; `{folder}` and `{port}` are filled in.
    pub fn start(site: &str) -> Self {
        let folder = folder::shared();
        let port = ports::free();
        let conf = include_str!("nginx.conf")
            .replace("{site}", site)
            .replace("{folder}", folder.path().to_str().unwrap())
            .replace("{port}", &port.to_string());
        let file = folder::write(folder.path(), "nginx.conf", &conf);
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        let process = Process::start("nginx", &mut command);
        // Its sockets are bound before it says which system it runs on.
        process.wait_for("that it serves", |line| line.contains("getrlimit").then_some(()));
        Self { process, port, folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Site for Nginx {
    fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
