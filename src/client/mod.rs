//! Talking to an `outboard` that runs on this machine, over its publish socket.
//!
//! - [`publisher`]: frames out, replies in;
//! - [`http`]: what channels there are, and one of them as it goes.
//!
//! Nothing here knows about arguments or terminals, and no wait is without a limit but the one for
//! an event that may never come.

pub mod http;
pub mod publisher;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::group;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// An `outboard` on this machine, by the places where its socket may be.
#[derive(Clone, Debug)]
pub struct Outboard {
    sockets: Vec<PathBuf>,
}

/// Why outboard could not be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody listens on any of the sockets.
    #[error(
        "is outboard running? Nobody listens on {}; start it with `outboard --to URL`, \
         or say where its socket is with --socket PATH or OUTBOARD_SOCKET", listed(.0)
    )]
    NotRunning(Vec<PathBuf>),
    /// The socket is not for this user.
    #[error("this user may not use {}{}", .path.display(), way_in(.group.as_deref()))]
    Denied {
        /// The socket.
        path: PathBuf,
        /// The group whose members may use it.
        group: Option<String>,
    },
    /// The socket cannot be used for another reason.
    #[error("cannot connect to {}: {cause}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The connection ended before the answer.
    #[error("outboard closed the connection before it answered; its log may say why")]
    Lost,
    /// No answer in time.
    #[error("outboard has not answered for {} seconds", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// An answer that says no.
    #[error("{text} ({code})")]
    Refused {
        /// The word for it, from a short list.
        code: String,
        /// The line for people.
        text: String,
    },
    /// An answer that nobody can read.
    #[error("what answers on the socket is no outboard of this version: {0}")]
    Nonsense(String),
}

impl Fault {
    /// Whether the same may go well later without anybody changing it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotRunning(_) | Self::Lost | Self::Silent | Self::Socket { .. } => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "store" | "overloaded"),
            Self::Denied { .. } | Self::Nonsense(_) => false,
        }
    }
}

impl Outboard {
    /// The one on the first of these sockets on which somebody listens.
    pub fn at(sockets: Vec<PathBuf>) -> Self {
        Self { sockets }
    }

    async fn connect(&self) -> Result<UnixStream, Fault> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        for path in &self.sockets {
            loop {
                let error = match UnixStream::connect(path).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => error,
                };
                match error.kind() {
                    // Never there, or left behind by a crash.
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => break,
                    io::ErrorKind::PermissionDenied => {
                        return Err(Fault::Denied { path: path.clone(), group: group_of(path) });
                    }
                    // More publishers are waiting than the system queues: there is no event for
                    // "room again", so ask again.
                    io::ErrorKind::WouldBlock if Instant::now() < deadline => {
                        sleep(Duration::from_millis(20)).await;
                    }
                    _ => return Err(Fault::Socket { path: path.clone(), cause: error }),
                }
            }
        }
        Err(Fault::NotRunning(self.sockets.clone()))
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" or ")
}

fn way_in(group: Option<&str>) -> String {
    match group {
        Some(group) => format!(
            ", which is for the group `{group}`; join it with `sudo usermod -aG {group} \"$USER\"` and log in again"
        ),
        None => "; its permissions are set with `mode` and `group` in [publish]".into(),
    }
}

/// The group of the socket, if members of it may write there; by name if it has one.
fn group_of(path: &Path) -> Option<String> {
    const GROUP_WRITE: u32 = 0o020;
    let file = std::fs::metadata(path).ok().filter(|file| file.mode() & GROUP_WRITE != 0)?;
    Some(group::name_of(file.gid()).unwrap_or_else(|| file.gid().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_socket_with_somebody_behind_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let [nothing, stale, live] = ["nothing", "stale", "live"].map(|name| folder.path().join(name));
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let listener = tokio::net::UnixListener::bind(&live).unwrap();

        let connected = Outboard::at(vec![nothing, stale, live]).connect().await;

        assert!(connected.is_ok());
        listener.accept().await.unwrap();
    }

    #[tokio::test]
    async fn without_anybody_every_place_is_named() {
        let sockets = vec![PathBuf::from("/no/a.sock"), PathBuf::from("/no/b.sock")];

        let fault = Outboard::at(sockets).connect().await.unwrap_err();

        assert_eq!(
            fault.to_string(),
            "is outboard running? Nobody listens on /no/a.sock or /no/b.sock; start it with \
             `outboard --to URL`, or say where its socket is with --socket PATH or OUTBOARD_SOCKET"
        );
        assert!(fault.is_passing());
    }

    #[test]
    fn whoever_may_not_is_told_how_to_join() {
        let fault = Fault::Denied { path: "/run/p.sock".into(), group: Some("www-data".into()) };

        assert_eq!(
            fault.to_string(),
            "this user may not use /run/p.sock, which is for the group `www-data`; \
             join it with `sudo usermod -aG www-data \"$USER\"` and log in again"
        );
    }
}
