//! The one loop in which subscribers and publishers live.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::{Events, Poll, Token};

use crate::clock::Clock;
use crate::crowd::{self, Crowd};
use crate::publisher::{Publisher, Target};
use crate::{Arguments, process};

/// Subscribers, publishers and what they wait on.
pub(crate) struct World {
    poll: Poll,
    events: Events,
    /// The clock that stamps events.
    pub clock: Clock,
    /// The subscribers.
    pub crowd: Crowd,
    /// The publishers.
    pub publishers: Vec<Publisher>,
    /// How many events were published, by channel.
    pub sent: Vec<u32>,
    /// The server's processes.
    pub server: process::Processes,
    size: usize,
    gathering: usize,
}

/// Above any subscriber's number.
const FIRST_PUBLISHER: usize = 1 << 24;

/// How long a crowd may take to gather or to be served.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// An empty world in front of the server that the arguments name.
    pub(crate) fn new(arguments: &Arguments) -> Result<World> {
        Ok(World {
            poll: Poll::new()?,
            // Few at a time, so that publishing keeps its rate while a wave of events comes in.
            events: Events::with_capacity(256),
            clock: Clock::start(),
            crowd: Crowd::new(arguments.server, &arguments.path),
            publishers: Vec::new(),
            sent: Vec::new(),
            server: process::Processes::with_descendants(&arguments.pid)?,
            size: arguments.size,
            gathering: arguments.gathering,
        })
    }

    /// Waits for at most `wait`, and lets everybody do what they can.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(wait)) {
            if error.kind() == std::io::ErrorKind::Interrupted {
                return Ok(());
            }
            return Err(error.into());
        }
        for event in &self.events {
            match event.token().0.checked_sub(FIRST_PUBLISHER) {
                Some(publisher) => self.publishers[publisher].ready()?,
                None => self.crowd.ready(event.token().0, self.clock)?,
            }
        }
        Ok(())
    }

    /// The same while a crowd gathers: whom the server cuts off then, as it is asked by so many at once, comes
    /// again. That it did shows in the tally.
    fn gather_until(&mut self, done: impl Fn(&World) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            if Instant::now() > deadline {
                bail!("the server did not keep up: {:?}", self.crowd.tally);
            }
            self.turn(Duration::from_millis(10))?;
            if self.crowd.tally.ended > 0 {
                self.come_back()?;
            }
        }
        Ok(())
    }

    /// Turns until `done`; fails when that takes longer than `patience`.
    pub(crate) fn turn_until(&mut self, patience: Duration, done: impl Fn(&World) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !done(self) {
            if Instant::now() > deadline {
                bail!("the server did not keep up: {:?}", self.crowd.tally);
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Turns for a while.
    pub(crate) fn turn_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Opens `count` streams, the n-th on channel n modulo `channels`.
    pub(crate) fn gather(&mut self, count: usize, channels: usize) -> Result<()> {
        self.sent.resize(channels, 0);
        let before = self.crowd.len();
        for index in 0..count {
            self.crowd.join(index % channels, self.poll.registry())?;
            if self.crowd.len() > self.crowd.open() + self.gathering {
                self.gather_until(|world| {
                    world.crowd.len() <= world.crowd.open() + world.gathering / 2
                        || world.crowd.tally.refused > 0
                })?;
            }
            if self.crowd.tally.refused > 0 {
                bail!("a stream was refused");
            }
        }
        self.gather_until(|world| world.crowd.open() >= before + count)
    }

    /// Connects `count` publishers.
    pub(crate) fn hire(&mut self, target: &Target, count: usize) -> Result<()> {
        for _ in 0..count {
            let token = Token(FIRST_PUBLISHER + self.publishers.len());
            self.publishers.push(Publisher::connect(target, self.poll.registry(), token)?);
        }
        Ok(())
    }

    /// Lets a publisher write the next event of a channel.
    pub(crate) fn publish(&mut self, publisher: usize, channel: usize) -> Result<()> {
        self.prepare(publisher, channel);
        self.publishers[publisher].flush()
    }

    /// As `publish`, but the event leaves with the publisher's next flush.
    pub(crate) fn prepare(&mut self, publisher: usize, channel: usize) {
        let data = crowd::data(self.sent[channel], self.clock.now(), self.size);
        self.sent[channel] += 1;
        self.publishers[publisher].publish(channel, &data);
    }

    /// Connects everybody again at once.
    pub(crate) fn reconnect_all(&mut self) -> Result<()> {
        for index in 0..self.crowd.len() {
            self.crowd.connect(index, self.poll.registry())?;
        }
        Ok(())
    }

    /// Connects those whose streams were ended and whose time has come.
    pub(crate) fn come_back(&mut self) -> Result<()> {
        self.crowd.come_back(self.poll.registry())
    }

    /// Events that the server took, over all publishers.
    pub(crate) fn taken(&self) -> u64 {
        self.publishers.iter().map(|publisher| publisher.taken).sum()
    }

    /// Waits until every subscriber has every event, or has been left waiting for `patience`.
    pub(crate) fn settle(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            self.turn(Duration::from_millis(10))?;
            let idle = self.publishers.iter().all(|publisher| publisher.outstanding == 0);
            if idle && self.crowd.lost(&self.sent) == 0 {
                break;
            }
        }
        Ok(())
    }
}
