//! The command line: the real binary, with a scripted outboard behind its socket where it matters
//! what goes wrong when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken fixture is a failed test")]

mod pipe;
mod publish;
mod reading;
mod scripted;
mod usage;
