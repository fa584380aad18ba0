//! Memory of streams on which nothing happens.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::round;
use crate::world::World;
use crate::{Arguments, process};

/// A few subscribers first, so that what a server sets up once is not counted against them.
const FIRST: usize = 16;

/// Opens the streams and weighs the server before and after.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(FIRST, 1)?;
    world.turn_for(Duration::from_millis(500))?;
    let (before, tcp_before) = (world.server.resident()?, process::tcp()?);

    world.gather(arguments.subscribers, 1)?;
    world.turn_for(Duration::from_secs(1))?;
    let (after, tcp_after) = (world.server.resident()?, process::tcp()?);

    let each = |before: u64, after: u64| round((after as f64 - before as f64) / arguments.subscribers as f64);
    Ok(json!({
        "subscribers": arguments.subscribers,
        "bytes_each": each(before, after),
        "resident_before": before,
        "resident_after": after,
        "kernel_tcp_bytes_each": each(tcp_before.memory, tcp_after.memory),
        "ended": world.crowd.tally.ended,
        "refused": world.crowd.tally.refused,
    }))
}
