//! Many channels with one subscriber each, fed by several publishers: what an event costs, not
//! what a delivery costs.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Measure, latency, round, verdict};
use crate::Arguments;
use crate::world::World;

/// Each publisher goes round its own share of the channels and keeps `window` events unanswered.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(arguments.channels, arguments.channels)?;
    world.hire(arguments.target()?, arguments.publishers)?;
    let mut turns = vec![0; arguments.publishers];
    publish_for(&mut world, arguments, &mut turns, arguments.warm_up())?;

    let before = (world.taken(), world.crowd.tally.delivered);
    world.crowd.measure_from(world.clock.now());
    let measure = Measure::begin(&world.server)?;
    publish_for(&mut world, arguments, &mut turns, arguments.time())?;
    let used = measure.end(&world.server)?;
    let taken = world.taken() - before.0;
    let delivered = world.crowd.tally.delivered - before.1;
    world.settle(arguments.patience())?;

    Ok(json!({
        "channels": arguments.channels,
        "publishers": arguments.publishers,
        "window": arguments.window,
        "bytes": arguments.size,
        "events_per_second": round(taken as f64 / used.seconds),
        "deliveries_per_second": round(delivered as f64 / used.seconds),
        "cpu_us_per_event": used.cpu_per(taken),
        "latency_ms": latency(&world),
        "load": used.load(),
        "generator_load": used.generator_load(),
        "events": verdict(&world),
    }))
}

/// Lets all publishers write as much as their windows admit, for a while.
pub(super) fn publish_for(
    world: &mut World,
    arguments: &Arguments,
    turns: &mut [usize],
    time: Duration,
) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for (publisher, turn) in turns.iter_mut().enumerate() {
            let share = (arguments.channels - publisher).div_ceil(arguments.publishers);
            while world.publishers[publisher].outstanding < arguments.window {
                world.prepare(publisher, publisher + (*turn % share) * arguments.publishers);
                *turn += 1;
            }
            world.publishers[publisher].flush()?;
        }
        world.turn(Duration::from_millis(10))?;
    }
    Ok(())
}
