//! Whether outboard lives, and whether it can do its work.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::{Api, Handled, reply};

/// How long the backend may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub(super) struct Alive {
    status: &'static str,
}

/// What is said as long as anything is said.
pub(super) const ALIVE: Alive = Alive { status: "ok" };

#[derive(Serialize)]
struct Ready {
    ready: bool,
    /// `ok`, or what is wrong with it.
    backend: String,
    /// `ok`, or what is wrong with it.
    store: String,
}

impl Api {
    /// Ready is who can reach the backend and write the log.
    pub(super) async fn ready(&self) -> Handled {
        let site = self.backend.load_full();
        let backend = match tokio::time::timeout(PATIENCE, site.reachable()).await {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(fault)) => fault.to_string(),
            Err(_elapsed) => {
                format!("backend {} has not accepted a connection within {PATIENCE:?}", site.name())
            }
        };
        let store = match self.broker.away() {
            Some(why) => why,
            None if self.broker.is_writable() => "ok".to_owned(),
            None => "the log cannot be written".to_owned(),
        };
        let ready = backend == "ok" && store == "ok";
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply::json(status, &Ready { ready, backend, store })
    }
}
