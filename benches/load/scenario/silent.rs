//! Subscribers that never read, beside some that do.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::fanout::publish_for;
use super::{latency, round, verdict};
use crate::clock::Beat;
use crate::crowd;
use crate::world::World;
use crate::{Arguments, process};

/// The receive buffer of a silent client, in bytes: as small as the system allows, since it is the server's
/// side that is weighed.
const RECEIVE_BUFFER: usize = 4096;

/// How long the server is given to fill the silent clients' buffers. Until they are full, each event is
/// a delivery to every one of them, which is a matter of speed and not of silence.
const FILLING: Duration = Duration::from_secs(3);

/// The highest of what was seen once a second.
#[derive(Default)]
struct Peak {
    resident: u64,
    memory: u64,
}

/// The readers are measured alone first, then with the silent ones beside them.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    world.gather(arguments.subscribers, 1)?;
    world.hire(arguments.target()?, 1)?;
    publish_for(&mut world, arguments.rate, arguments.warm_up())?;
    world.settle(arguments.patience())?;
    world.crowd.measure_from(world.clock.now());
    publish_for(&mut world, arguments.rate, arguments.time().min(Duration::from_secs(10)))?;
    world.settle(arguments.patience())?;
    let alone = latency(&world);

    let silent = be_silent(arguments.server, &arguments.path, arguments.silent)?;
    world.turn_for(Duration::from_secs(2))?;
    let (resident, tcp) = (world.server.resident()?, process::tcp()?);
    world.crowd.measure_from(world.clock.now());
    let mut peak = Peak::default();
    publish_and_watch(&mut world, arguments.rate, FILLING, &mut peak)?;
    let filling = latency(&world);
    world.crowd.measure_from(world.clock.now());
    publish_and_watch(&mut world, arguments.rate, arguments.time(), &mut peak)?;
    let left = process::tcp()?.sockets;
    world.settle(arguments.patience())?;
    drop(silent);

    let mebibytes = |bytes: u64| round(bytes as f64 / f64::from(1 << 20));
    Ok(json!({
        "silent": arguments.silent,
        "readers": arguments.subscribers,
        "events_per_second": arguments.rate,
        "bytes": arguments.size,
        "resident_growth_mib": mebibytes(peak.resident.saturating_sub(resident)),
        "kernel_tcp_kib_per_socket":
            round(peak.memory.saturating_sub(tcp.memory) as f64 / 1024.0 / arguments.silent as f64),
        "kernel_tcp_peak_mib": mebibytes(peak.memory),
        "sockets_before": tcp.sockets,
        "sockets_after": left,
        "latency_ms_alone": alone,
        "latency_ms_while_filling": filling,
        "latency_ms": latency(&world),
        "events": verdict(&world),
    }))
}

/// Opens streams that nobody will ever read.
fn be_silent(server: SocketAddr, path: &str, count: usize) -> Result<Vec<Socket>> {
    let request = crowd::request(path, 0, &[]);
    (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            socket.connect(&server.into()).context("a silent client cannot connect")?;
            (&socket).write_all(&request)?;
            Ok(socket)
        })
        .collect()
}

/// Publishes at a steady rate for a while, and looks at the memory once a second.
fn publish_and_watch(world: &mut World, rate: f64, time: Duration, peak: &mut Peak) -> Result<()> {
    let (mut events, mut looks) = (Beat::per_second(rate), Beat::per_second(1.0));
    let end = Instant::now() + time;
    while Instant::now() < end {
        if events.strikes() {
            world.publish(0, 0)?;
        }
        if looks.strikes() {
            peak.resident = peak.resident.max(world.server.resident()?);
            peak.memory = peak.memory.max(process::tcp()?.memory);
        }
        world.turn(events.wait().min(Duration::from_millis(10)))?;
    }
    Ok(())
}
