//! The Unix socket itself.

use std::path::PathBuf;

/// Where publishers connect, and what they may use up (`[publish]`).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The socket's path.
    pub socket: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The group it belongs to; `None` leaves it to the system.
    pub group: Option<String>,
    /// The largest frame, in bytes.
    pub max_event_size: usize,
    /// The most publishers at a time.
    pub max_publishers: usize,
}
