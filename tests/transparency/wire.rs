//! Messages as they stood on the wire, read with as few opinions as can be.

use std::io::Read;

/// One line of a head or of the trailers. A folded line is one, with its line ends in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The first line, without its end.
    pub(crate) start: String,
    pub(crate) lines: Vec<Line>,
    /// How the end of the body is told.
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<Line>,
    /// Whether all of it came.
    pub(crate) complete: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Framing {
    #[default]
    NoBody,
    Length,
    Chunked,
    UntilClose,
}

/// Which kind of message is expected.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Request,
    /// To a request of this method.
    AnswerTo(&'a str),
}

impl Message {
    pub(crate) fn word(&self, number: usize) -> &str {
        self.start.splitn(3, ' ').nth(number).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status()) && self.status() != 101
    }

    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
        lines.map(|line| line.value.as_str())
    }

    fn framing_of(&self, kind: Kind<'_>) -> Framing {
        let bodiless = match kind {
            Kind::Request => false,
            Kind::AnswerTo(method) => {
                method == "HEAD" || self.is_interim() || matches!(self.status(), 204 | 304)
            }
        };
        let chunked = self.values("transfer-encoding").any(|value| value.to_lowercase().contains("chunked"));
        match kind {
            _ if bodiless => Framing::NoBody,
            // What follows a switch is no HTTP, and is all there is.
            Kind::AnswerTo(_) if self.status() == 101 => Framing::UntilClose,
            _ if chunked => Framing::Chunked,
            _ if self.values("content-length").next().is_some() => Framing::Length,
            Kind::Request => Framing::NoBody,
            Kind::AnswerTo(_) => Framing::UntilClose,
        }
    }
}

/// Bytes as text in which none of them is lost: one character each.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Reads message after message.
pub(crate) struct Reader<R> {
    source: R,
    waiting: Vec<u8>,
    /// How many bytes of the source the messages so far have taken.
    pub(crate) taken: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, waiting: Vec::new(), taken: 0 }
    }

    /// The next message; what there is of it if the source ends within. `None` if nothing comes.
    pub(crate) fn message(&mut self, kind: Kind<'_>) -> Option<Message> {
        if !self.more(1) {
            return None;
        }
        let mut message = Message::default();
        if self.head(&mut message, kind).is_some() {
            message.framing = message.framing_of(kind);
            message.complete = self.body(&mut message).is_some();
        }
        Some(message)
    }

    fn head(&mut self, message: &mut Message, kind: Kind<'_>) -> Option<()> {
        if matches!(kind, Kind::AnswerTo(_)) && !(self.more(5) && self.waiting.starts_with(b"HTTP/")) {
            // HTTP/0.9: the body is all there is.
            return Some(());
        }
        message.start = text(&self.line()?);
        message.lines = self.lines()?;
        Some(())
    }

    fn lines(&mut self) -> Option<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        loop {
            let line = text(&self.line()?);
            if line.is_empty() {
                return Some(lines);
            }
            if line.starts_with([' ', '\t']) && !lines.is_empty() {
                lines.last_mut()?.value.push_str(&format!("\r\n{line}"));
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            lines.push(Line { name: name.to_owned(), value: value.trim_matches([' ', '\t']).to_owned() });
        }
    }

    fn body(&mut self, message: &mut Message) -> Option<()> {
        match message.framing {
            Framing::NoBody => Some(()),
            Framing::Length => {
                let size = message.values("content-length").next()?.parse().ok()?;
                self.bytes(size, &mut message.body)
            }
            Framing::UntilClose => {
                while self.receive() {}
                message.body = std::mem::take(&mut self.waiting);
                self.taken += message.body.len();
                Some(())
            }
            Framing::Chunked => loop {
                let line = text(&self.line()?);
                let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
                if size == 0 {
                    message.trailers = self.lines()?;
                    return Some(());
                }
                self.bytes(size, &mut message.body)?;
                self.line()?;
            },
        }
    }

    /// Moves so many bytes to `into`, or as many as come.
    fn bytes(&mut self, size: usize, into: &mut Vec<u8>) -> Option<()> {
        let all = self.more(size);
        let size = size.min(self.waiting.len());
        into.extend(self.waiting.drain(..size));
        self.taken += size;
        all.then_some(())
    }

    /// A line without its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        let mut looked_at = 0;
        loop {
            if let Some(at) = self.waiting[looked_at..].iter().position(|&byte| byte == b'\n') {
                let end = looked_at + at;
                self.taken += end + 1;
                let mut line: Vec<u8> = self.waiting.drain(..=end).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Some(line);
            }
            looked_at = self.waiting.len();
            if !self.receive() {
                return None;
            }
        }
    }

    /// Whether so many bytes wait, or come.
    fn more(&mut self, size: usize) -> bool {
        while self.waiting.len() < size {
            if !self.receive() {
                return false;
            }
        }
        true
    }

    fn receive(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        let got = self.source.read(&mut buffer).unwrap_or(0);
        self.waiting.extend(&buffer[..got]);
        got > 0
    }
}
