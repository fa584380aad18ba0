//! nginx in front of `outboard`.

use std::path::Path;
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
        Self::with_location(&outboard.url(), "")
    }

    /// The same, with more lines in its only `location`.
    pub fn with_location(url: &str, lines: &str) -> Self {
        let pass = format!("proxy_pass {url};");
        Self::start(&format!("server {{ listen 127.0.0.1:{{port}}; location / {{ {pass} {lines} }} }}"))
    }

    /// By the configuration file that we ship.
    pub fn in_front_of(outboard: &Outboard) -> Self {
        Self::start(&folder::shipped(
            "deploy/nginx/outboard.conf",
            &[("127.0.0.1:8000", outboard.address()), ("listen 80;", "listen 127.0.0.1:{port};")],
        ))
    }

    /// By the configuration file that we ship, with TLS in place of its plain port. It believes
    /// `X-Forwarded-For` of whoever connects, as if the test's clients had those addresses.
    pub fn with_tls_in_front_of(url: &str) -> Self {
        let listen = "listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/site.pem; \
                      ssl_certificate_key {folder}/site.key; \
                      set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;";
        let upstream = url.strip_prefix("http://").unwrap_or(url);
        let shipped = folder::shipped(
            "deploy/nginx/outboard.conf",
            &[("127.0.0.1:8000", upstream), ("listen 80;", listen)],
        );
        // The client's own line is what the test says who it is with; the real nginx would append to it.
        Self::start(&shipped.replace("$proxy_add_x_forwarded_for", "$remote_addr"))
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
        if conf.contains("site.pem") {
            make_certificate(folder.path());
        }
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        let process = Process::start("nginx", &mut command);
        // Its sockets are bound before it says which system it runs on.
        process.wait_for("that it serves", |line| line.contains("getrlimit").then_some(()));
        Self { process, port, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
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

/// A certificate that nobody but the test trusts.
fn make_certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost", "-keyout", "site.key", "-out", "site.pem"]);
    let made = openssl.current_dir(folder).output().expect("openssl is there; `tests/run` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
