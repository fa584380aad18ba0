//! What is done to a server, one module each.

pub(crate) mod burst;
pub(crate) mod channels;
pub(crate) mod closed;
pub(crate) mod fanout;
pub(crate) mod held;
pub(crate) mod idle;
pub(crate) mod leave;
pub(crate) mod plain;
pub(crate) mod publish;
pub(crate) mod silent;
pub(crate) mod storm;

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::process::{Cpu, Processes};
use crate::world::World;

/// The server's clock and the wall's, from the beginning of what is measured.
struct Measure {
    began: Instant,
    cpu: Cpu,
    generator: Cpu,
}

/// What was used meanwhile.
struct Used {
    seconds: f64,
    cpu: Cpu,
    generator: Cpu,
}

impl Measure {
    fn begin(server: &Processes) -> Result<Measure> {
        Ok(Measure { began: Instant::now(), cpu: server.cpu()?, generator: Processes::own().cpu()? })
    }

    fn end(&self, server: &Processes) -> Result<Used> {
        let seconds = self.began.elapsed().as_secs_f64();
        let generator = Processes::own().cpu()?.since(self.generator);
        Ok(Used { seconds, cpu: server.cpu()?.since(self.cpu), generator })
    }
}

impl Used {
    /// Microseconds of CPU for each of `count`: all, in user space, in the kernel.
    fn cpu_per(&self, count: u64) -> Value {
        let each = |seconds: f64| round(seconds * 1e6 / count.max(1) as f64);
        json!({ "all": each(self.cpu.total()), "user": each(self.cpu.user), "system": each(self.cpu.system) })
    }

    /// How busy the server was: 1 is a core.
    fn load(&self) -> f64 {
        round(self.cpu.total() / self.seconds)
    }

    /// How busy the generator was: near 1 it is what holds the others back.
    fn generator_load(&self) -> f64 {
        round(self.generator.total() / self.seconds)
    }
}

/// What every run has to say about the events it sent.
fn verdict(world: &World) -> Value {
    let tally = &world.crowd.tally;
    json!({
        "sent": world.sent.iter().map(|sent| u64::from(*sent)).sum::<u64>(),
        "taken": world.taken(),
        "not_taken": world.publishers.iter().map(|publisher| publisher.refused).sum::<u64>(),
        "delivered": tally.delivered,
        "lost": world.crowd.lost(&world.sent),
        "doubled": tally.doubled,
        "misordered": tally.misordered,
        "gaps": tally.gaps,
        "ended": tally.ended,
        "refused": tally.refused,
    })
}

/// Latencies of deliveries, in milliseconds.
fn latency(world: &World) -> Value {
    let latency = &world.crowd.latency;
    json!({
        "count": latency.total(),
        "p50": round(latency.quantile(0.5)),
        "p99": round(latency.quantile(0.99)),
        "max": round(latency.max()),
    })
}

/// Three digits behind the point are more than any of this is worth.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
