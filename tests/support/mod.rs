//! The plumbing of the end-to-end tests: the real `outboard`, real servers around it, and clients
//! that speak raw bytes.
//!
//! Everything here waits for facts (a line in a log, bytes on a socket) and gives up at
//! [`DEADLINE`] with what it saw until then. Every process that a test starts has its own folder,
//! its own ports and is killed by its handle when the test is over, however it ended.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "every test binary uses its own part of this, and a broken fixture is a failed test"
)]

use std::time::Duration;

pub mod apache;
pub mod backend;
pub mod folder;
pub mod haproxy;
pub mod http;
pub mod nginx;
pub mod outboard;
pub mod php_fpm;
pub mod ports;
pub mod process;
pub mod readme;
pub mod sse;

pub use apache::Apache;
pub use backend::Backend;
pub use haproxy::Haproxy;
pub use http::{Request, Response, Stream};
pub use nginx::Nginx;
pub use outboard::{Outboard, Reply};
pub use php_fpm::PhpFpm;

/// How long a test waits for a fact before it fails. Long, since a busy machine is no bug; no test
/// that passes waits for it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Something with an address that `outboard`, or a proxy in front of it, can be pointed at.
pub trait Site {
    /// Where it is, as in `http://127.0.0.1:8080` or `unix:/run/app.sock`.
    fn url(&self) -> String;
}

impl Site for str {
    fn url(&self) -> String {
        self.to_owned()
    }
}
