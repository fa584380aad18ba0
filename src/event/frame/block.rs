//! The lines of one frame into what it asks for.

use std::time::Duration;

use super::lines::Line;
use super::names::{is_near_miss, shown, unknown};
use super::{Code, Frame, FrameError, Leniency, MAX_CHANNELS, MAX_SUBJECTS};
use crate::channel::{Channel, InvalidChannel};
use crate::event::Event;
use crate::subject::Subject;

/// The longest `dedupe` key, in bytes.
pub const MAX_KEY: usize = 255;

/// A frame whose end has not been read yet.
#[derive(Debug)]
pub(super) struct Block {
    limit: usize,
    /// The bytes of its lines and their ends so far.
    size: usize,
    fields: Fields,
    named: Named,
    /// The first thing that was wrong. From then on only channels are read.
    error: Option<FrameError>,
}

/// The channels that the block itself names.
#[derive(Debug, Default)]
enum Named {
    #[default]
    None,
    Valid(Vec<Channel>),
    Invalid,
}

#[derive(Debug, Default)]
struct Fields {
    data: Option<String>,
    has_event_line: bool,
    /// Name, id and retry; the data stays apart until it is complete.
    event: Event,
    close: bool,
    ttl: Option<Duration>,
    dedupe: Option<Box<str>>,
    disconnect: Vec<Subject>,
    reply: Option<bool>,
}

impl Block {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, size: 0, fields: Fields::default(), named: Named::None, error: None }
    }

    /// The length of the longest line that can still be taken.
    pub(super) fn room(&self) -> usize {
        match self.error {
            Some(_) => 0,
            None => self.limit.saturating_sub(self.size).saturating_sub(1),
        }
    }

    pub(super) fn add(&mut self, line: &Line<'_>, leniency: &mut Leniency) {
        self.size = self.size.saturating_add(line.length).saturating_add(1);
        if self.size > self.limit {
            self.fail(FrameError::new(
                Code::TooLarge,
                format!("the frame has more than {} bytes, which is the most an event may have", self.limit),
            ));
        }
        let (name, value) = split(line.bytes);
        if name == b"channel" {
            // Read even in a frame that is refused: the frames behind it may rely on the name.
            if let Err(error) = self.named.add(value) {
                self.fail(error);
            }
        } else if name == b"lenient" {
            // As the channel: it is about the frames behind it as well.
            match text(value).and_then(|value| switch("lenient", value)) {
                Ok(on) => leniency.on = on,
                Err(error) => self.fail(error),
            }
        } else if leniency.on && is_left_out(name, value) {
            leniency.left_out += 1;
        } else if self.error.is_none()
            && let Err(error) = self.fields.add(name, value)
        {
            self.fail(error);
        }
    }

    /// Ends the frame, if there is one, and makes ready for the next.
    pub(super) fn end(&mut self, sticky: &mut Vec<Channel>) -> Option<Result<Frame, FrameError>> {
        if self.size == 0 {
            return None;
        }
        let block = std::mem::replace(self, Self::new(self.limit));
        match block.named {
            Named::None => {}
            Named::Valid(channels) => *sticky = channels,
            Named::Invalid => sticky.clear(),
        }
        Some(match block.error {
            Some(error) => Err(error),
            None => block.fields.into_frame(sticky),
        })
    }

    /// What to say of the frame if the connection ends here; `cut_line`: in the middle of a line.
    pub(super) fn cut_off(&mut self, cut_line: bool) -> Option<FrameError> {
        let begun = cut_line || self.size > 0;
        let incomplete = || {
            let text = "the connection ended before the blank line that ends a frame";
            FrameError::new(Code::Incomplete, text)
        };
        begun.then(|| self.error.take().unwrap_or_else(incomplete))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.fields.data.as_ref().map_or(0, String::capacity)
    }

    /// Keeps the first error, and lets go of what will not be published.
    fn fail(&mut self, error: FrameError) {
        if self.error.is_none() {
            self.error = Some(error);
            self.fields = Fields::default();
        }
    }
}

/// Name and value; one blank after the colon belongs to neither.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

/// Whether a browser would skip this line, and its author did not mean one of ours.
fn is_left_out(name: &[u8], value: &[u8]) -> bool {
    match std::str::from_utf8(name) {
        Ok("retry") => std::str::from_utf8(value).is_ok_and(|value| number("retry", "", value).is_err()),
        Ok(name) => !is_near_miss(name),
        Err(_) => true,
    }
}

fn text(bytes: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| {
        FrameError::new(
            Code::BadUtf8,
            "the frame holds bytes that are not UTF-8: convert the text before writing it",
        )
    })
}

impl Named {
    fn add(&mut self, name: &[u8]) -> Result<(), FrameError> {
        let added = self.try_add(name);
        if added.is_err() {
            *self = Self::Invalid;
        }
        added
    }

    fn try_add(&mut self, name: &[u8]) -> Result<(), FrameError> {
        let bad = |text: String| FrameError::new(Code::BadChannel, text);
        let channel = Channel::parse(text(name)?).map_err(|invalid| match invalid {
            InvalidChannel::Own => FrameError::new(Code::Forbidden, invalid.to_string()),
            invalid => bad(invalid.to_string()),
        })?;
        match self {
            // One bad name spoils them all; it has been reported.
            Self::Invalid => {}
            Self::None => *self = Self::Valid(vec![channel]),
            Self::Valid(channels) if channels.contains(&channel) => {}
            Self::Valid(channels) if channels.len() == MAX_CHANNELS => {
                return Err(bad(format!("a frame names at most {MAX_CHANNELS} channels")));
            }
            Self::Valid(channels) => channels.push(channel),
        }
        Ok(())
    }
}

impl Fields {
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), FrameError> {
        let (name, value) = (text(name)?, text(value)?);
        match name {
            "data" => self.add_data(value),
            "event" => {
                self.has_event_line = true;
                self.event.set_name(value).map_err(|invalid| bad_value("event", invalid))?;
            }
            "id" => self.event.set_id(value).map_err(|invalid| bad_value("id", invalid))?,
            "retry" => self.event.set_retry(retry(value)?.into()),
            "close" => self.close = true,
            "ttl" => self.ttl = Some(Duration::from_secs(number("ttl", "seconds", value)?.into())),
            "dedupe" => self.dedupe = Some(key(value)?),
            "disconnect" => self.add_subject(value)?,
            "reply" => self.reply = Some(switch("reply", value)?),
            "grant" => {
                let text = "`grant` is not available in this version: \
                    let the backend decide who may subscribe, by `auth` or by a handoff";
                return Err(FrameError::new(Code::Forbidden, text));
            }
            _ => return Err(FrameError::new(Code::UnknownField, unknown(name))),
        }
        Ok(())
    }

    fn add_data(&mut self, line: &str) {
        match &mut self.data {
            None => self.data = Some(line.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(line);
            }
        }
    }

    fn add_subject(&mut self, name: &str) -> Result<(), FrameError> {
        if self.disconnect.len() == MAX_SUBJECTS {
            return Err(bad_value("disconnect", format!("a frame ends at most {MAX_SUBJECTS} subjects")));
        }
        let subject = Subject::parse(name).map_err(|invalid| bad_value("disconnect", invalid))?;
        self.disconnect.push(subject);
        Ok(())
    }

    fn into_frame(self, sticky: &[Channel]) -> Result<Frame, FrameError> {
        if self.has_event_line && self.data.is_none() {
            // A browser drops such a block without a word.
            let text = "a browser ignores an event without data: add a `data:` line, it may be empty";
            return Err(bad_value("event", text));
        }
        let mut event = self.event;
        event.data = self.data.map(String::into_boxed_str);
        let event = Some(event).filter(|event| *event != Event::default());

        let publishes = event.is_some() || self.close;
        if publishes && sticky.is_empty() {
            let text = "no channel is named: write `channel: NAME` in this frame or in one before it";
            return Err(FrameError::new(Code::NoChannel, text));
        }
        if !publishes && (self.ttl.is_some() || self.dedupe.is_some()) {
            let field = if self.ttl.is_some() { "ttl" } else { "dedupe" };
            let text = "it counts for the event of its own frame, and this one has none: add a `data:` line";
            return Err(bad_value(field, text));
        }
        Ok(Frame {
            channels: sticky.to_vec(),
            event,
            close: self.close,
            ttl: self.ttl,
            dedupe: self.dedupe,
            disconnect: self.disconnect,
            reply: self.reply,
        })
    }
}

fn bad_value(field: &str, reason: impl std::fmt::Display) -> FrameError {
    FrameError::new(Code::BadValue, format!("`{field}`: {reason}"))
}

fn number(field: &str, unit: &str, value: &str) -> Result<u32, FrameError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.ok_or_else(|| {
        let most = u32::MAX;
        bad_value(field, format!("{} is not a number of {unit} from 0 to {most}", shown(value)))
    })
}

fn retry(value: &str) -> Result<u32, FrameError> {
    number("retry", "milliseconds", value).map_err(|mut error| {
        let digits = value.trim_start().bytes().take_while(u8::is_ascii_digit).count();
        let meant = &value.trim_start()[..digits];
        // Such as `3000ms`, which browsers skip.
        if meant.parse::<u32>().is_ok() {
            error.text = format!("{}: write `retry: {meant}`, or `lenient: on` before it", error.text);
        }
        error
    })
}

/// Whether `text` can be a `dedupe` key: 1 to [`MAX_KEY`] bytes, no control character.
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_KEY && !text.contains(char::is_control)
}

fn key(value: &str) -> Result<Box<str>, FrameError> {
    is_key(value).then(|| value.into()).ok_or_else(|| {
        bad_value("dedupe", format!("a key has 1 to {MAX_KEY} bytes and no control characters"))
    })
}

fn switch(field: &str, value: &str) -> Result<bool, FrameError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad_value(field, format!("write `on` or `off`, not {}", shown(value)))),
    }
}
