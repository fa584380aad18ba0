//! Listening: sockets, their limits, and one HTTP connection at a time.
//!
//! What answers is a function that the caller gives. It gets requests that the gate has let in, one after
//! the other, and may ask for the socket itself in place of an answer; nothing here knows what for. A
//! client that leaves takes the answer that is being made for it along.

pub mod accept;
pub mod connection;
mod introduction;
mod request;
pub mod unix;
mod wire;

pub use accept::{BindError, Entrance, Listener, Service, bind, bind_unix, try_bind};
pub use introduction::Introductions;
pub use request::{Interim, Request};
