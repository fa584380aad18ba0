//! The checker, checked: it finds each kind of fault that is planted, and nothing in clean histories.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

#[path = "mod.rs"]
mod checker;
mod faults;
mod planted;
mod simulated;
