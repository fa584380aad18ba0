//! The demo: a legacy CGI site of our own with outboard in front of it, in one command.
//!
//! The site is real: scripts in plain `sh` behind a small CGI server that knows nothing of
//! outboard ([`cgi`], [`site`]). What stands in front is the product as everybody runs it, with a
//! configuration file that the pages show. All of it lives in one private folder ([`files`]) and
//! is gone after the demo: the folder, the sockets, and the jobs that scripts have started
//! ([`jobs`]).

mod cgi;
mod files;
mod front;
mod jobs;
mod site;
mod welcome;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::app;
use cgi::Scripts;
use files::Home;
use jobs::Jobs;
use site::Site;

/// Where the demo listens if nothing else is asked for, and where it begins to look for a port.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// How many ports are tried.
const PORTS: u16 = 100;

/// How long a CGI script may run.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What can be chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Where to listen. `None`: at 127.0.0.1:8000, or the next port that is free.
    pub listen: Option<SocketAddr>,
}

/// Why there is no demo, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The files cannot be written.
    #[error("cannot write the demo's site to a folder in {}: {cause}", folder.display())]
    Files {
        /// Where temporary files are put.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {cause}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// No port is free.
    #[error("none of the ports {first} to {last} of 127.0.0.1 is free; choose an address with --listen")]
    NoPort {
        /// The first that was tried.
        first: u16,
        /// The last that was tried.
        last: u16,
    },
    /// The site's own server failed.
    #[error("the demo's site cannot go on: {0}")]
    Site(io::Error),
    /// The system sends us no signals.
    #[error("cannot wait for Ctrl-C: {0}")]
    Signals(io::Error),
    /// The configuration that the demo brings is wrong; a test sees to it that it is not.
    #[error("the demo's own configuration is wrong:\n{0}")]
    Configuration(String),
    /// What stands in front did not start.
    #[error(transparent)]
    Front(app::StartError),
}

/// Runs the demo until Ctrl-C, `SIGTERM`, `SIGQUIT` or `SIGHUP`.
///
/// # Errors
/// When a part of it cannot start or go on; what was started is ended all the same.
pub async fn run(options: Options) -> Result<(), DemoError> {
    let home = Home::make().map_err(|cause| DemoError::Files { folder: std::env::temp_dir(), cause })?;
    let address = choose(options.listen)?;
    let jobs = Arc::new(Jobs::default());
    let site = Arc::new(site(&home, &jobs));
    let listener = UnixListener::bind(home.backend_socket()).map_err(DemoError::Site)?;
    let front = front::start(&home, address)?;
    welcome::print(address, options.listen.is_none() && address != ADDRESS, &home);

    let outcome = tokio::select! {
        asked = end_asked_for() => asked,
        error = Arc::clone(&site).serve(listener) => Err(DemoError::Site(error)),
        () = keep_ticking(&site.scripts) => Ok(()),
        () = jobs.look_after() => Ok(()),
    };
    if outcome.is_ok() {
        welcome::say("ending the jobs and the streams; nothing is left behind");
    }
    // Jobs first: they would find their socket gone.
    jobs.end().await;
    front::stop(front).await;
    outcome
}

/// The address asked for, or the first free one. Nobody holds it between this and the time it is
/// listened on; who takes it then is told by an error.
fn choose(asked: Option<SocketAddr>) -> Result<SocketAddr, DemoError> {
    let free = |address| TcpListener::bind(address).and_then(|listener| listener.local_addr());
    if let Some(address) = asked {
        return free(address).map_err(|cause| DemoError::Listen { address, cause });
    }
    let first = ADDRESS.port();
    (first..first + PORTS)
        .find_map(|port| free(SocketAddr::new(ADDRESS.ip(), port)).ok())
        .ok_or(DemoError::NoPort { first, last: first + PORTS - 1 })
}

/// The command that this is.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "outboard".into())
}

fn site(home: &Home, jobs: &Arc<Jobs>) -> Site {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    Site {
        documents: home.documents(),
        scripts: Scripts {
            folder: home.scripts(),
            documents: home.documents(),
            environment: vec![
                ("PATH".into(), path),
                ("OUTBOARD".into(), program().into()),
                ("OUTBOARD_SOCKET".into(), home.publish_socket().into()),
                ("STATE".into(), home.state().into()),
            ],
            time_limit: TIME_LIMIT,
            jobs: Arc::clone(jobs),
            running: Arc::default(),
        },
    }
}

/// Runs the ticker's loop, and again should it end; returns never.
async fn keep_ticking(scripts: &Scripts) {
    loop {
        if let Err(error) = tick(scripts).await {
            tracing::warn!(%error, "cannot run ticker.sh");
        }
        tracing::debug!("ticker.sh has ended; it is started again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn tick(scripts: &Scripts) -> io::Result<()> {
    let mut ticker = Command::new("sh")
        .arg("./ticker.sh")
        .current_dir(&scripts.folder)
        .env_clear()
        .envs(scripts.environment.iter().map(|(name, value)| (name, value)))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .process_group(0)
        .spawn()?;
    scripts.jobs.started(&ticker);
    // A task of its own: whoever ends the demo's jobs waits until this one is seen to have ended.
    tokio::spawn(async move { ticker.wait().await }).await.map_err(io::Error::other)?.map(drop)
}

async fn end_asked_for() -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DemoError::Signals)?;
    let mut quit = signal(SignalKind::quit()).map_err(DemoError::Signals)?;
    // Heard, so that they end nothing; there is nothing for them to do here.
    for kind in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        drop(signal(kind).map_err(DemoError::Signals)?);
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        _ = quit.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let holder = TcpListener::bind(taken.as_ref().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();

        assert!(matches!(choose(Some(address)), Err(DemoError::Listen { .. })));
        assert_ne!(choose(None).unwrap().port(), address.port());
        assert_ne!(choose(Some("127.0.0.1:0".parse().unwrap())).unwrap().port(), 0);
    }
}
