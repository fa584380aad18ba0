//! Listening: sockets, their limits, and one HTTP connection at a time.

pub mod accept;
pub mod connection;
mod request;

pub use accept::{BindError, Listener, bind};
pub use request::Request;
