//! What was seen from outside during a run: every send with its reply, every line of every client,
//! and what the log was found to hold. Nothing in here comes from the program's own memory.

/// Microseconds since the run began, on one monotonic clock.
pub type Time = u64;

/// A run, as its publishers and clients saw it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The lives of the process, one after the other.
    pub lives: Vec<Life>,
    /// Every try of every event, in the order of each publisher.
    pub sends: Vec<Sent>,
    pub clients: Vec<Client>,
    pub readbacks: Vec<Readback>,
    /// Whether the limits of the history are so wide that nothing leaves it.
    pub keeps_everything: bool,
}

/// One life of the process.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Whether it was started on the undamaged log of the life before, and that log promised that what
    /// was seen is stored.
    pub continues: bool,
}

/// One try to publish an event. The data is what an event is known by: no two events have the same.
#[derive(Clone, Debug)]
pub struct Sent {
    pub publisher: usize,
    pub life: usize,
    pub at: Time,
    pub data: String,
    pub channels: Vec<String>,
    pub own_id: Option<String>,
    /// Whether it carried a `dedupe` key, always the same for the same data.
    pub dedupe: bool,
    /// `None` if none was read.
    pub reply: Option<Reply>,
}

/// What was answered to a try, and when that was read.
#[derive(Clone, Debug)]
pub struct Reply {
    pub at: Time,
    pub said: Said,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    Ok { id: String, level: Level, duplicate: bool },
    Error { code: String },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    Accepted,
    Stored,
}

/// A client that comes back with the last id it has seen. Without one it asks for all there is.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: String,
    pub channels: Vec<String>,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub at: Time,
    pub what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// The head of the answer has come.
    Connected {
        life: usize,
        last_event_id: Option<String>,
    },
    Event {
        id: String,
        data: String,
    },
    Gap {
        reason: String,
    },
    Ended,
}

/// What one channel of the log was found to hold, oldest first.
#[derive(Clone, Debug)]
pub struct Readback {
    pub life: usize,
    pub at: Time,
    pub channel: String,
    /// Ids and data.
    pub entries: Vec<(String, String)>,
}

/// `EPOCH-SEQUENCE`, taken apart.
pub fn position(id: &str) -> Option<(&str, u64)> {
    let (epoch, sequence) = id.rsplit_once('-')?;
    Some((epoch, sequence.parse().ok()?))
}
