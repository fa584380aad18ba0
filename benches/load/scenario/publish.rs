//! Publishing alone: how many events a second a server acknowledges.

use anyhow::Result;
use serde_json::{Value, json};

use super::channels::publish_for;
use super::{Measure, round};
use crate::Arguments;
use crate::world::World;

/// Each publisher has a channel, no subscriber, and keeps `window` events unanswered.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.sent.resize(arguments.channels.max(arguments.publishers), 0);
    world.hire(arguments.target()?, arguments.publishers)?;
    let mut turns = vec![0; arguments.publishers];
    let arguments = &Arguments { channels: world.sent.len(), ..arguments.clone() };
    publish_for(&mut world, arguments, &mut turns, arguments.warm_up())?;

    let stored = |world: &World| world.publishers.iter().map(|publisher| publisher.stored).sum::<u64>();
    let before = (world.taken(), stored(&world));
    let measure = Measure::begin(&world.server)?;
    publish_for(&mut world, arguments, &mut turns, arguments.time())?;
    let used = measure.end(&world.server)?;
    let taken = world.taken() - before.0;

    Ok(json!({
        "publishers": arguments.publishers,
        "window": arguments.window,
        "bytes": arguments.size,
        "events_per_second": round(taken as f64 / used.seconds),
        "stored_share": round((stored(&world) - before.1) as f64 / taken.max(1) as f64),
        "cpu_us_per_event": used.cpu_per(taken),
        "load": used.load(),
        "generator_load": used.generator_load(),
        "not_taken": world.publishers.iter().map(|publisher| publisher.refused).sum::<u64>(),
    }))
}
