//! Listening: sockets, their limits, and one HTTP connection at a time.

pub mod connection;
