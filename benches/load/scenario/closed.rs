//! The next event when one has reached everybody: as fast as the server can.
//!
//! One event goes ahead of the others. A server that writes waiting events together has to bring it
//! together with them again: else the one and the others take turns for ever, at twice the cost.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Measure, latency, round, verdict};
use crate::Arguments;
use crate::world::{PATIENCE, World};

/// How far the first event is ahead: less than it takes to reach everybody, so that the others miss its
/// round.
const AHEAD: Duration = Duration::from_millis(15);

/// Keeps `window` events on their way.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(arguments.subscribers, 1)?;
    world.hire(arguments.target()?, 1)?;
    let mut arrived = 0;
    world.publish(0, 0)?;
    world.turn_for(AHEAD)?;
    circulate(&mut world, arguments, &mut arrived, arguments.warm_up())?;

    let before = world.crowd.tally.delivered;
    world.crowd.measure_from(world.clock.now());
    let measure = Measure::begin(&world.server)?;
    circulate(&mut world, arguments, &mut arrived, arguments.time())?;
    let used = measure.end(&world.server)?;
    let delivered = world.crowd.tally.delivered - before;
    world.settle(arguments.patience())?;

    Ok(json!({
        "subscribers": arguments.subscribers,
        "outstanding": arguments.window,
        "bytes": arguments.size,
        "deliveries_per_second": round(delivered as f64 / used.seconds),
        "cpu_us_per_delivery": used.cpu_per(delivered),
        "latency_ms": latency(&world),
        "load": used.load(),
        "generator_load": used.generator_load(),
        "events": verdict(&world),
    }))
}

fn circulate(world: &mut World, arguments: &Arguments, arrived: &mut usize, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut progress = (Instant::now(), *arrived);
    while Instant::now() < end {
        let everybody = |count: &u32| *count as usize >= arguments.subscribers;
        while world.crowd.arrivals.get(*arrived).is_some_and(everybody) {
            *arrived += 1;
        }
        while (world.sent[0] as usize) < *arrived + arguments.window {
            world.publish(0, 0)?;
        }
        world.turn(Duration::from_millis(10))?;
        if *arrived > progress.1 {
            progress = (Instant::now(), *arrived);
        } else if progress.0.elapsed() > PATIENCE {
            bail!("event {arrived} has not reached everybody: {:?}", world.crowd.tally);
        }
    }
    Ok(())
}
