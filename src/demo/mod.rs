//! A legacy CGI site of our own, to be looked at.

use std::net::SocketAddr;

/// What can be chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Where to listen. `None`: at 127.0.0.1:8000, or the next port that is free.
    pub listen: Option<SocketAddr>,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// When a part of it cannot start or go on.
pub async fn run(_options: Options) -> Result<(), std::io::Error> {
    Err(std::io::Error::other("the demo is not built yet"))
}
