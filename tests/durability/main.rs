//! What was acknowledged is kept, whatever happens to the process, the machine's power or the disk.
//!
//! Each test runs the real program under load, does something terrible to it, and has the checker
//! judge what publishers and clients saw. The short forms run with every `cargo test`; the long ones
//! are commands: `tests/durability/kill-loop 1000`, `tests/durability/power-cut 500`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

#[path = "../checker/mod.rs"]
mod checker;
#[path = "../support/mod.rs"]
mod support;

mod client;
mod closing;
mod damage;
mod dice;
mod faults;
mod image;
mod kill;
mod load;
mod owner;
mod power;
mod publisher;
mod readback;
mod results;
mod rig;
mod shim;
mod starting;
