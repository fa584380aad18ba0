//! The language of the publish socket, decoded from any cut of the bytes. No I/O, no clock.
//!
//! A frame is a block of the event-stream format (WHATWG HTML 9.2.5) with a few fields more. What
//! stays true, whatever is written:
//!
//! - how the bytes were cut into reads makes no difference;
//! - each frame gives one [`Frame`] or one [`FrameError`], in the order written, and an error
//!   never costs more than its own frame;
//! - no more is held than one frame within the limit: what is beyond is read over and let go;
//! - an event never goes to a channel that its publisher did not mean: a frame that names a channel
//!   badly leaves the connection without one.

mod block;
mod lines;
#[cfg(test)]
mod model;
mod names;

use std::fmt;
use std::time::Duration;

use crate::channel::Channel;
use crate::event::Event;
use crate::subject::Subject;

pub use block::{MAX_KEY, is_key};
pub use names::unknown_name;

use block::Block;
use lines::Lines;

/// The most channels one frame can name.
pub const MAX_CHANNELS: usize = 64;

/// The most subjects one frame can disconnect.
pub const MAX_SUBJECTS: usize = 1024;

/// Reads the frames of one connection.
#[derive(Debug)]
pub struct Decoder {
    lines: Lines,
    block: Block,
    sticky: Vec<Channel>,
    leniency: Leniency,
}

/// What is done about lines that are none of the language's, as scripts print them to browsers, which skip them.
#[derive(Clone, Copy, Debug, Default)]
struct Leniency {
    on: bool,
    /// Lines that were left out.
    left_out: u64,
}

/// What one block asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frame {
    /// Where to: what the frame names, else what an earlier one of the connection named.
    pub channels: Vec<Channel>,
    /// What to publish. There is a channel if there is an event.
    pub event: Option<Event>,
    /// Whether the channels are closed afterwards. There is a channel if they are.
    pub close: bool,
    /// After how long the event leaves the history.
    pub ttl: Option<Duration>,
    /// The key under which a second try is known as such: 1 to 255 bytes.
    pub dedupe: Option<Box<str>>,
    /// Whose subscribers to end.
    pub disconnect: Vec<Subject>,
    /// Whether replies are wanted from here on, if the frame says so.
    pub reply: Option<bool>,
}

impl Frame {
    /// Whether it asks for more than a setting of its connection.
    pub fn publishes(&self) -> bool {
        self.event.is_some() || self.close || !self.disconnect.is_empty()
    }
}

/// Why nothing of a frame was published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code} {text}")]
pub struct FrameError {
    /// The case, for programs.
    pub code: Code,
    /// One line without control characters, for people.
    pub text: String,
}

/// The cases in which a publish is refused; a closed list.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Code {
    /// A field that is not in the language.
    UnknownField,
    /// Something to publish, and no channel named so far.
    NoChannel,
    /// A name that no channel can have, or too many names.
    BadChannel,
    /// Bytes that are not UTF-8.
    BadUtf8,
    /// A value that its field cannot have.
    BadValue,
    /// More bytes than an event may have.
    TooLarge,
    /// The connection ended within the frame.
    Incomplete,
    /// Something that this publisher may not do.
    Forbidden,
    /// The log could not be written.
    Store,
    /// There is no room; later there may be.
    Overloaded,
}

impl Code {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "unknown-field",
            Self::NoChannel => "no-channel",
            Self::BadChannel => "bad-channel",
            Self::BadUtf8 => "bad-utf8",
            Self::BadValue => "bad-value",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::Forbidden => "forbidden",
            Self::Store => "store",
            Self::Overloaded => "overloaded",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FrameError {
    fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Decoder {
    /// A decoder for a new connection.
    ///
    /// A frame counts without its comments, each of its lines with one byte for the line's end; one
    /// with more than `max_frame_bytes` is refused.
    pub fn new(max_frame_bytes: usize) -> Self {
        Self {
            lines: Lines::default(),
            block: Block::new(max_frame_bytes),
            sticky: Vec::new(),
            leniency: Leniency::default(),
        }
    }

    /// The same, for a connection that speaks of `channel` until it names another.
    pub fn on_channel(channel: Channel, max_frame_bytes: usize) -> Self {
        Self { sticky: vec![channel], ..Self::new(max_frame_bytes) }
    }

    /// Takes bytes off the front of `input` until a frame ends; what is behind it is left there.
    ///
    /// `None` when all bytes are taken and no frame has ended with them: go on with the next read.
    pub fn decode(&mut self, input: &mut &[u8]) -> Option<Result<Frame, FrameError>> {
        while let Some(line) = self.lines.next(input, self.block.room()) {
            let line = if self.leniency.on { line.without_indentation() } else { line };
            if line.is_blank() {
                if let Some(result) = self.block.end(&mut self.sticky) {
                    return Some(result);
                }
            } else if !line.is_comment() {
                self.block.add(&line, &mut self.leniency);
            }
        }
        None
    }

    /// How many lines were left out since it was asked for the last time, as `lenient: on` has it.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.leniency.left_out)
    }

    /// Says at the end of the connection what is wrong with a frame that it cut off.
    ///
    /// # Errors
    /// The frame's own fault if it had one already, else [`Code::Incomplete`].
    pub fn finish(mut self) -> Result<(), FrameError> {
        let cut_line = self.lines.is_within_field();
        self.block.cut_off(cut_line).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
impl Decoder {
    /// How many bytes the buffers hold on to.
    fn held(&self) -> usize {
        self.lines.held() + self.block.held()
    }
}

#[cfg(test)]
mod tests;
