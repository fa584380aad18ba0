//! The publish socket: where it is, and what may come through it.

use std::path::{Path, PathBuf};

use crate::listen::unix::{self, Place, Purpose};

pub use crate::listen::unix::BindError;

/// How the publish socket is made, and what may come through it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where it is.
    pub socket: PathBuf,
    /// Its permissions, as in `0o660`.
    pub mode: u32,
    /// The group it belongs to, by name or number; ours if `None`.
    pub group: Option<String>,
    /// The most bytes of a frame, or of the body of an HTTP request.
    pub max_event_size: usize,
    /// The most connections at a time; more wait.
    pub max_publishers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: "/run/outboard/publish.sock".into(),
            mode: 0o660,
            group: None,
            max_event_size: 256 << 10,
            max_publishers: 1024,
        }
    }
}

impl Settings {
    /// How its file is made.
    pub fn place(&self) -> Place {
        let Self { socket, mode, group, .. } = self;
        Place { path: socket.clone(), mode: *mode, group: group.clone(), purpose: Purpose::Publish }
    }
}

/// The socket, in its place, with us listening on it. Dropping it removes the file.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: unix::Bound,
    pub(super) max_publishers: usize,
}

/// Makes the socket and listens on it. The folder is made too, with mode 0750, if there is none.
///
/// # Errors
/// When the path cannot be ours: too long, in use, or something else lies there.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    Ok(Bound { socket: unix::bind(&settings.place())?, max_publishers: settings.max_publishers })
}

impl Bound {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }
}
