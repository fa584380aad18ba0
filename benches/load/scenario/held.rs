//! Clients that the site has handed over: it is asked about each again and again, and told when each is gone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::storm::Bystander;
use super::{Measure, round};
use crate::Arguments;
use crate::world::{PATIENCE, World};

/// Measures what the questions cost and how evenly they come, what a page takes meanwhile, and how long it
/// takes until the site has heard of everybody that is gone.
pub(crate) fn run(arguments: &Arguments) -> Result<Value> {
    let mut world = World::new(arguments)?;
    let site = arguments.site.context("--site is missing")?;
    world.gather(arguments.subscribers, 1)?;
    world.turn_for(arguments.warm_up())?;

    let before = told(site)?;
    let bystander = Bystander::start(arguments.server)?;
    let measure = Measure::begin(&world.server)?;
    let mut most = 0;
    let mut last = before.questions;
    let end = Instant::now() + arguments.time();
    while Instant::now() < end {
        world.turn_for(Duration::from_millis(100))?;
        let questions = told(site)?.questions;
        most = most.max(questions - last);
        last = questions;
    }
    let used = measure.end(&world.server)?;
    let pages = bystander.stop()?;
    let questions = last - before.questions;

    let began = Instant::now();
    world.crowd.cut();
    let mut gone = 0;
    while gone < arguments.subscribers as u64 && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        gone = told(site)?.gone - before.gone;
    }
    Ok(json!({
        "subscribers": arguments.subscribers,
        "questions": questions,
        "questions_per_second": round(questions as f64 / used.seconds),
        "most_questions_in_a_tenth": most,
        "cpu_us_per_question": used.cpu_per(questions),
        "pages": pages.total(),
        "pages_ms_p99": round(pages.quantile(0.99)),
        "ended_while_held": world.crowd.tally.ended,
        "gone": gone,
        "gone_seconds": round(began.elapsed().as_secs_f64()),
    }))
}

/// What the site has been told so far.
struct Told {
    questions: u64,
    gone: u64,
}

/// Asks `benches/backend` what it has counted.
fn told(site: SocketAddr) -> Result<Told> {
    let mut socket = TcpStream::connect(site)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"GET /told HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    let text = std::str::from_utf8(&answer[..length])?;
    let (_, body) = text.split_once("\r\n\r\n").context("the site does not say what it was told")?;
    let mut numbers = body.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next().context("a count is missing")?.context("a count is no number");
    Ok(Told { questions: next()?, gone: next()? })
}
