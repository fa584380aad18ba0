//! A parser of event streams for the tests, written from the WHATWG text ("Interpreting an event
//! stream") and from nothing of ours, so that it can disagree with the code under test.

/// An event as a page's `onmessage` would see it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// `message` if the stream named none.
    pub name: String,
    pub data: String,
    /// The last event id at that moment.
    pub id: String,
}

/// Reads an event stream in whatever pieces it comes.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    name: String,
    data: String,
    id: String,
    /// The reconnect hint, in milliseconds.
    pub retry: Option<u64>,
    /// Comments so far, without their colon.
    pub comments: Vec<String>,
    events: Vec<Event>,
}

impl Parser {
    /// Takes in `bytes` and returns the events that they complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        for &byte in bytes {
            let second_half = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.end_line(&line);
                }
                other => self.line.push(other),
            }
        }
        std::mem::take(&mut self.events)
    }

    fn end_line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = if self.begun { &text } else { text.trim_start_matches('\u{feff}') };
        self.begun = true;
        if text.is_empty() {
            return self.dispatch();
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments.push(text[1..].to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        data.pop();
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push(Event { name, data, id: self.id.clone() });
    }
}
