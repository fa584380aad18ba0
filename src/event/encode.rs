//! An event as bytes for clients.
