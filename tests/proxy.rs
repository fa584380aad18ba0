//! The proxy between real sockets: a backend that says what its script says, byte by byte, and a
//! client that reads what comes of it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "proxy/support.rs"]
mod support;

#[path = "proxy/connections.rs"]
mod connections;
#[path = "proxy/faults.rs"]
mod faults;
#[path = "proxy/old_sites.rs"]
mod old_sites;
#[path = "proxy/passing.rs"]
mod passing;
