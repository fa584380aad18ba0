//! Events at a steady rate to everybody.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Measure, latency, verdict};
use crate::Arguments;
use crate::clock::Beat;
use crate::world::World;

/// Measures from the first event after the warm-up until the last one has reached everybody.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(arguments.subscribers, 1)?;
    world.hire(arguments.target()?, 1)?;
    publish_for(&mut world, arguments.rate, arguments.warm_up())?;
    world.settle(arguments.patience())?;

    let before = world.crowd.tally.delivered;
    world.crowd.measure_from(world.clock.now());
    let measure = Measure::begin(&world.server)?;
    publish_for(&mut world, arguments.rate, arguments.time())?;
    world.settle(arguments.patience())?;
    let used = measure.end(&world.server)?;

    let delivered = world.crowd.tally.delivered - before;
    Ok(json!({
        "subscribers": arguments.subscribers,
        "events_per_second": arguments.rate,
        "bytes": arguments.size,
        "cpu_us_per_delivery": used.cpu_per(delivered),
        "latency_ms": latency(&world),
        "load": used.load(),
        "generator_load": used.generator_load(),
        "events": verdict(&world),
    }))
}

/// Publishes at a steady rate for a while.
pub(super) fn publish_for(world: &mut World, rate: f64, time: Duration) -> Result<()> {
    let mut beat = Beat::per_second(rate);
    let end = Instant::now() + time;
    while Instant::now() < end {
        if beat.strikes() {
            world.publish(0, 0)?;
        }
        world.turn(beat.wait().min(Duration::from_millis(10)))?;
    }
    Ok(())
}
