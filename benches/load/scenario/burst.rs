//! One script prints a great many events in one go, and one client reads as fast as it can.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{latency, round, verdict};
use crate::Arguments;
use crate::world::World;

/// How many events are prepared at a time: what a script's `write` has in its buffer.
const PORTION: usize = 512;

/// Publishes `missed` events as fast as they are taken, without waiting for a reply.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(arguments.subscribers, 1)?;
    world.hire(arguments.target()?, 1)?;
    let began = Instant::now();
    let mut left = arguments.missed;
    while left > 0 {
        for _ in 0..PORTION.min(left) {
            world.prepare(0, 0);
        }
        left -= PORTION.min(left);
        // The next portion is printed when the last one is taken.
        while world.publishers[0].has_output() {
            world.publishers[0].flush()?;
            world.turn(std::time::Duration::from_millis(10))?;
        }
    }
    let printed = began.elapsed();
    world.settle(arguments.patience())?;
    Ok(json!({
        "events_in_the_burst": arguments.missed,
        "subscribers": arguments.subscribers,
        "seconds_until_printed": round(printed.as_secs_f64()),
        "seconds_until_received": round(began.elapsed().as_secs_f64()),
        "latency_ms": latency(&world),
        "events": verdict(&world),
    }))
}
