//! Everybody is cut off at once, misses some events and comes back at once, while somebody else only
//! wants a page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use memchr::memmem;
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
    let bystander = Bystander::start(arguments.server)?;
    world.reconnect_all()?;
    let returns = returns(&mut world, began)?;
    let used = measure.end(&world.server)?;
    let pages = bystander.stop()?;

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
        "pages": pages.total(),
        "pages_ms_p99": round(pages.quantile(0.99)),
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

/// A client that asks for one page of the site after the other.
pub(super) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Histogram>>,
}

impl Bystander {
    pub(super) fn start(server: SocketAddr) -> Result<Self> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = Histogram::new();
            while !told.load(Ordering::Relaxed) {
                let asked = Instant::now();
                ask(&mut socket)?;
                times.record(u64::try_from(asked.elapsed().as_nanos())?);
            }
            Ok(times)
        });
        Ok(Self { stop, thread })
    }

    pub(super) fn stop(self) -> Result<Histogram> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the bystander has panicked"))?
    }
}

/// Asks for a page and reads it to its end.
fn ask(socket: &mut TcpStream) -> Result<()> {
    socket.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let size = socket.read(&mut buffer).context("a page did not come during the storm")?;
        anyhow::ensure!(size > 0, "the server closed a connection during the storm");
        answer.extend_from_slice(&buffer[..size]);
        let Some(head) = memmem::find(&answer, b"\r\n\r\n") else { continue };
        anyhow::ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "a page is {}",
            String::from_utf8_lossy(&answer)
        );
        if answer.len() >= head + 4 + PAGE {
            return Ok(());
        }
    }
}

/// The bytes of a page of `benches/backend`.
const PAGE: usize = 1024;
