//! What stands in front of the site: outboard, as everybody runs it.
//!
//! Its configuration is the file that the pages show. Only the three things that are different in
//! each run come on top, as flags would bring them: the backend, the address and the socket.

use std::net::SocketAddr;
use std::time::Duration;

use super::DemoError;
use super::files::Home;
use crate::app::{self, Running};
use crate::config::{Flag, Sources};

/// How long the end may take. Nobody depends on a demo.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Starts outboard in front of the site in `home`.
pub(super) fn start(home: &Home, address: SocketAddr) -> Result<Running, DemoError> {
    let site = format!("unix:{}", home.backend_socket().display());
    let sources = Sources {
        file: Some(home.configuration()),
        flags: vec![
            Flag::to(&site),
            Flag::listen(&[address.to_string()]),
            Flag::socket(&home.publish_socket()),
        ],
        ..Sources::default()
    };
    let config = sources.load().map_err(|report| DemoError::Configuration(report.render(false)))?;
    app::start(&config).map_err(DemoError::Front)
}

/// Lets it end in good order, within a limit.
pub(super) async fn stop(running: Running) {
    if tokio::time::timeout(DRAIN_LIMIT, running.drain()).await.is_err() {
        tracing::debug!(limit = ?DRAIN_LIMIT, "some connections were cut off");
    }
}
