//! Whether outboard lives, and whether it can do its work.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::Api;
use super::json;
use crate::listen::connection::Answer;

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
}

impl Api {
    /// Ready is who can reach the backend.
    pub(super) async fn ready(&self) -> Answer {
        let backend = match tokio::time::timeout(PATIENCE, self.backend.reachable()).await {
            Ok(Ok(())) => return json(StatusCode::OK, &Ready { ready: true, backend: "ok".to_owned() }),
            Ok(Err(fault)) => fault.to_string(),
            Err(_elapsed) => {
                format!("backend {} has not accepted a connection within 5 seconds", self.backend.name())
            }
        };
        json(StatusCode::SERVICE_UNAVAILABLE, &Ready { ready: false, backend })
    }
}
