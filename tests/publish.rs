//! The publish socket between real publishers and a real log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken fixture is a failed test")]

#[path = "publish/support.rs"]
mod support;

#[path = "publish/admin.rs"]
mod admin;
#[path = "publish/frames.rs"]
mod frames;
#[path = "publish/http.rs"]
mod http;
