//! HAProxy in front of a site, as a peer to compare with, and in front of `outboard`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::{DEADLINE, Site, folder, ports};

/// A running HAProxy.
pub struct Haproxy {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Haproxy {
    /// Passes connections on to `address` as they are, with these words behind its `server` line.
    pub fn in_front_of(address: &str, how: &str) -> Self {
        Self::start(&format!(
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
             listen site\n bind 127.0.0.1:{{port}}\n server site {address} {how}\n"
        ))
    }

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

    /// Sends a request from this address of the machine, and reads to the end.
    pub fn ask_from(&self, from: &str, request: &str) -> String {
        let address: SocketAddr = self.address().parse().unwrap();
        let from: SocketAddr = format!("{from}:0").parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Site for Haproxy {
    fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
