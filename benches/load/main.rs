//! The load: subscribers, publishers and plain clients in one process and one thread, so that a
//! core of its own is enough for it.
//!
//! Each scenario prints one line of JSON. Server CPU and memory are read from `/proc` by the
//! generator itself, at the very beginning and the very end of what it measures. Every event
//! carries its number and the moment of its publishing; what is lost, doubled or out of order is
//! counted in every run.

mod clock;
mod crowd;
mod decode;
mod histogram;
mod process;
mod publisher;
mod scenario;
mod tally;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use crate::publisher::Target;

/// What to do to a server, and where it is.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
pub struct Arguments {
    scenario: Scenario,
    /// The server's address, for subscribers and plain clients.
    #[arg(long)]
    server: SocketAddr,
    /// The path of a stream, with {channel} in it, or of a plain request.
    #[arg(long, default_value = "/events/{channel}")]
    path: String,
    /// Where events are published: unix:PATH, http://ADDRESS/PATH or grip://ADDRESS/PATH.
    #[arg(long)]
    publish: Option<Target>,
    /// The server's process, whose CPU time and memory count, with its descendants'. Repeatable.
    #[arg(long, required = true)]
    pid: Vec<u32>,
    /// Another process to report the CPU time of, such as the backend of a proxy.
    #[arg(long)]
    beside: Vec<u32>,
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    #[arg(long, default_value_t = 1)]
    channels: usize,
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Bytes of data in each event, or of a plain answer.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Events a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Events on their way at a time (of each publisher where there are several), or plain connections.
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How many seconds stragglers are waited for before an event counts as lost.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// How long to run before measuring.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// How many connections may be on their way while a crowd gathers: less than any listener's backlog.
    #[arg(long, default_value_t = 256)]
    gathering: usize,
    /// Events that those who come back have missed, or of a burst.
    #[arg(long, default_value_t = 100)]
    missed: usize,
    /// Subscribers that never read.
    #[arg(long, default_value_t = 10_000)]
    silent: usize,
    /// Where the site behind the server can be asked what it was told.
    #[arg(long)]
    site: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// Memory of streams on which nothing happens.
    Idle,
    /// Events at a steady rate to everybody.
    Fanout,
    /// The next event when one has reached everybody.
    Closed,
    /// Many channels, one subscriber each.
    Channels,
    /// Publishing alone.
    Publish,
    /// Everybody is cut off and comes back.
    Storm,
    /// Subscribers that never read.
    Silent,
    /// Plain requests.
    Plain,
    /// Everybody leaves at once.
    Leave,
    /// Clients that the site has handed over.
    Held,
    /// A great many events in one go.
    Burst,
}

impl Arguments {
    fn target(&self) -> Result<&Target> {
        let Some(target) = &self.publish else { bail!("--publish is missing") };
        Ok(target)
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse_from(without_cargos(std::env::args()));
    let result = match arguments.scenario {
        Scenario::Idle => scenario::idle::run(&arguments)?,
        Scenario::Fanout => scenario::fanout::run(&arguments)?,
        Scenario::Closed => scenario::closed::run(&arguments)?,
        Scenario::Channels => scenario::channels::run(&arguments)?,
        Scenario::Publish => scenario::publish::run(&arguments)?,
        Scenario::Storm => scenario::storm::run(&arguments)?,
        Scenario::Silent => scenario::silent::run(&arguments)?,
        Scenario::Plain => scenario::plain::run(&arguments)?,
        Scenario::Leave => scenario::leave::run(&arguments)?,
        Scenario::Held => scenario::held::run(&arguments)?,
        Scenario::Burst => scenario::burst::run(&arguments)?,
    };
    println!("{result}");
    Ok(())
}

/// `cargo bench` adds a `--bench` of its own.
fn without_cargos(arguments: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    arguments.filter(|argument| argument != "--bench")
}
