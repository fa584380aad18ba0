//! Everybody is cut off at once, misses some events and comes back at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Measure, round, verdict};
use crate::Arguments;
use crate::histogram::Histogram;
use crate::world::{PATIENCE, World};

/// How many events everybody has before the cut: enough to know an id.
const BEFORE: usize = 3;

/// Measures from the cut until the last one has all that was missed, and then checks that all of
/// them are live again.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.crowd.remember_ids();
    world.gather(arguments.subscribers, 1)?;
    world.hire(arguments.target()?, 1)?;
    publish(&mut world, BEFORE)?;
    world.settle(arguments.patience())?;

    let measure = Measure::begin(&world.server)?;
    world.crowd.cut();
    publish(&mut world, arguments.missed)?;
    world.turn_until(PATIENCE, |world| world.publishers[0].outstanding == 0)?;

    let began = Instant::now();
    world.reconnect_all()?;
    let returns = returns(&mut world, began)?;
    let used = measure.end(&world.server)?;

    publish(&mut world, 1)?;
    world.settle(arguments.patience())?;
    let resumed = arguments.subscribers as u64;
    Ok(json!({
        "subscribers": arguments.subscribers,
        "missed": arguments.missed,
        "back": returns.total(),
        "seconds_p50": round(returns.quantile(0.5) / 1000.0),
        "seconds_p99": round(returns.quantile(0.99) / 1000.0),
        "seconds_all": round(returns.max() / 1000.0),
        "cpu_us_per_return": used.cpu_per(resumed),
        "events": verdict(&world),
    }))
}

fn publish(world: &mut World, count: usize) -> Result<()> {
    for _ in 0..count {
        world.publish(0, 0)?;
        world.turn(Duration::ZERO)?;
    }
    Ok(())
}

/// When each of them had everything. Those whom the server sent away come back as it told them.
fn returns(world: &mut World, began: Instant) -> Result<Histogram> {
    let mut returns = Histogram::new();
    let mut away: Vec<usize> = (0..world.crowd.len()).collect();
    let sent = world.sent[0];
    while !away.is_empty() && began.elapsed() < PATIENCE {
        world.turn(Duration::from_millis(5))?;
        world.come_back()?;
        let elapsed = u64::try_from(began.elapsed().as_nanos())?;
        away.retain(|index| {
            let back = world.crowd.is_up_to_date(*index, sent);
            if back {
                returns.record(elapsed);
            }
            !back
        });
    }
    Ok(returns)
}
