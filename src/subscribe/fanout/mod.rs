//! The fan-out threads: each holds its share of the clients, and brings them what is new in the log.
//!
//! `worker` is the loop of a thread, `deliver` what it does with news, `clock` what it does when a time has
//! come. `handle` is what others have of it.

mod clock;
mod deliver;
mod groups;
mod handle;
mod lag;
mod pace;
mod piece;
mod rest;
mod subscriber;
mod wheel;
mod worker;

use crate::slots::Key;

pub(super) use handle::{AskAgain, Command, Handle, Ticket};
pub(super) use pace::Pace;
pub(super) use subscriber::{Extras, Held, Subscriber};
pub(super) use wheel::Tick;
pub(super) use worker::Worker;

/// A client in the care of a thread.
pub(super) enum Client {}

/// Where its thread keeps a client; never means a later one.
pub(super) type Slot = Key<Client>;
