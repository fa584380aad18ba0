//! Events, their ids, and the two texts they travel in. No I/O, no clock.
//!
//! - [`Event`]: what one block of the WHATWG server-sent-events format carries, checked;
//! - [`EventId`] and [`Position`]: the token a client resumes with, and the place it stands for;
//! - [`encode`]: an event as bytes for clients; it can be told nothing that injects a field;
//! - [`frame`]: the language of the publish socket, decoded from any cut of the bytes.

pub mod bom;
pub mod encode;
pub mod frame;
mod id;

pub use id::{Epoch, EventId, Position};

/// The longest id a publisher may give, in bytes.
pub const MAX_ID: usize = 255;

/// What one block of an event stream carries (WHATWG HTML 9.2.6).
///
/// An `Event` in hand can be written as SSE: its name and id hold nothing that ends a line, and
/// its data has LF as its only line break.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    name: Option<Box<str>>,
    data: Option<Box<str>>,
    id: Option<Box<str>>,
    retry: Option<u64>,
}

/// Why a text cannot be part of an event.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEvent {
    /// The name would end its line, or NUL is in it.
    #[error("an event name cannot contain CR, LF or NUL")]
    Name,
    /// The id holds something besides printable ASCII.
    #[error("an id consists of printable ASCII: {0:?} is not allowed in it")]
    Id(char),
    /// A browser would cut the blank off and come back with another id.
    #[error("an id does not begin or end with a blank: write it without")]
    IdBlank,
    /// The id is longer than [`MAX_ID`]; the length it has.
    #[error("an id has at most {MAX_ID} bytes, this one has {0}")]
    LongId(usize),
}

impl Event {
    /// An event with this data. CRLF and CR become LF, as a client would read them.
    pub fn with_data(data: &str) -> Self {
        Self { data: Some(one_line_break(data)), ..Self::default() }
    }

    /// The same event, with this as its data.
    pub fn set_data(&mut self, data: &str) {
        self.data = Some(one_line_break(data));
    }

    /// Gives the event a name, on which `addEventListener(NAME, …)` fires. Empty means none.
    ///
    /// # Errors
    /// When the name contains CR, LF or NUL.
    pub fn set_name(&mut self, name: &str) -> Result<(), InvalidEvent> {
        if name.contains(['\r', '\n', '\0']) {
            return Err(InvalidEvent::Name);
        }
        self.name = Some(name).filter(|name| !name.is_empty()).map(Into::into);
        Ok(())
    }

    /// Gives the event the publisher's own id. Empty means none, for an empty `id:` would make
    /// clients forget where they are.
    ///
    /// # Errors
    /// When the id is longer than [`MAX_ID`], is not printable ASCII, or has a blank at an end.
    pub fn set_id(&mut self, id: &str) -> Result<(), InvalidEvent> {
        if let Some(c) = id.chars().find(|c| !c.is_ascii_graphic() && *c != ' ') {
            return Err(InvalidEvent::Id(c));
        }
        if id.starts_with(' ') || id.ends_with(' ') {
            return Err(InvalidEvent::IdBlank);
        }
        if id.len() > MAX_ID {
            return Err(InvalidEvent::LongId(id.len()));
        }
        self.id = Some(id).filter(|id| !id.is_empty()).map(Into::into);
        Ok(())
    }

    /// The time, in milliseconds, after which clients shall reconnect from now on.
    pub fn set_retry(&mut self, milliseconds: u64) {
        self.retry = Some(milliseconds);
    }

    /// The event's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The event's data; `None` differs from empty: a client dispatches only the latter.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The publisher's own id, if it gave one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The reconnect hint, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }
}

fn one_line_break(data: &str) -> Box<str> {
    if data.contains('\r') { data.replace("\r\n", "\n").replace('\r', "\n").into() } else { data.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_break_becomes_lf() {
        assert_eq!(Event::with_data("a\r\nb\rc\n\r\nd").data(), Some("a\nb\nc\n\nd"));
    }

    #[test]
    fn names_and_ids_cannot_end_a_line() {
        let mut event = Event::default();

        assert_eq!(event.set_name("a\ndata: x"), Err(InvalidEvent::Name));
        assert_eq!(event.set_name("a\0"), Err(InvalidEvent::Name));
        assert_eq!(event.set_id("a\rb"), Err(InvalidEvent::Id('\r')));
        assert_eq!(event.set_id("a\tb"), Err(InvalidEvent::Id('\t')));
        assert_eq!(event.set_id("a "), Err(InvalidEvent::IdBlank));
        assert_eq!(event.set_id(" a"), Err(InvalidEvent::IdBlank));
        assert_eq!(event.set_id("ä"), Err(InvalidEvent::Id('ä')));
        assert_eq!(event.set_id(&"1".repeat(256)), Err(InvalidEvent::LongId(256)));
        assert_eq!(event, Event::default());
    }

    #[test]
    fn an_id_may_be_a_date_with_a_blank_in_it() {
        let mut event = Event::default();

        event.set_id("2010-06-08 12:00:00").unwrap();

        assert_eq!(event.id(), Some("2010-06-08 12:00:00"));
    }

    #[test]
    fn an_empty_id_is_no_id() {
        let mut event = Event::default();

        event.set_id("").unwrap();

        assert_eq!(event.id(), None);
    }
}
