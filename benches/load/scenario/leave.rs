//! Everybody leaves at once, each of a channel of its own and one that all share, while somebody publishes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Measure, round};
use crate::Arguments;
use crate::histogram::Histogram;
use crate::world::{PATIENCE, World};

/// How long everybody is there before they leave.
const BEFORE: Duration = Duration::from_secs(2);
/// How long the publisher goes on once the last client is gone, so that the server's own part is seen too; not
/// longer, or what is measured would be the time in which nobody leaves.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// How long it waits between an acknowledgement and the next event.
const PAUSE: Duration = Duration::from_millis(1);

/// Measures how long each acknowledgement takes, first with everybody there, then while they leave.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    let count = arguments.subscribers;
    world.gather(count, count)?;
    // Nobody listens on the channel that is published to.
    world.sent.push(0);
    world.hire(arguments.target()?, 1)?;
    let alone = acknowledgements(&mut world, count, |began| began.elapsed() < BEFORE)?;

    let measure = Measure::begin(&world.server)?;
    let sockets = world.crowd.take_sockets();
    let leaving = std::thread::spawn(move || drop(sockets));
    let mut gone_at = None;
    let meanwhile = acknowledgements(&mut world, count, |_| {
        if gone_at.is_none() && leaving.is_finished() {
            gone_at = Some(Instant::now());
        }
        gone_at.is_none_or(|gone: Instant| gone.elapsed() < AFTERWARDS)
    })?;
    let used = measure.end(&world.server)?;

    Ok(json!({
        "subscribers": count,
        "acknowledgement_ms_alone": times(&alone),
        "acknowledgement_ms": times(&meanwhile),
        "cpu_us_per_leaver": used.cpu_per(count as u64),
    }))
}

/// Publishes one event after the other, each once the one before it is acknowledged, as long as `goes_on`.
fn acknowledgements(
    world: &mut World,
    channel: usize,
    mut goes_on: impl FnMut(Instant) -> bool,
) -> Result<Histogram> {
    let mut times = Histogram::new();
    let began = Instant::now();
    while goes_on(began) {
        let asked = Instant::now();
        world.publish(0, channel)?;
        world.turn_until(PATIENCE, |world| world.publishers[0].outstanding == 0)?;
        times.record(u64::try_from(asked.elapsed().as_nanos())?);
        world.turn(PAUSE)?;
    }
    if world.publishers[0].refused > 0 {
        bail!("an event was refused");
    }
    Ok(times)
}

fn times(times: &Histogram) -> Value {
    json!({ "count": times.total(), "p50": round(times.quantile(0.5)), "p99": round(times.quantile(0.99)), "max": round(times.max()) })
}
