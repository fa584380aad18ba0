//! Lines, however what they are read from is cut.

use std::io::Read;

use bytes::{Buf, BytesMut};

/// The longest line that is kept, in bytes; outboard takes less unless it is told otherwise.
pub(super) const LONGEST: usize = 16 << 20;

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// A line without its end, which is LF or CRLF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    Text {
        text: String,
        /// Whether it was not UTF-8 and had to be read as Latin-1.
        repaired: bool,
    },
    /// Longer than [`LONGEST`]: left out.
    TooLong,
}

/// The lines of something that can be read.
pub(super) struct Lines<R> {
    input: R,
    read: BytesMut,
    /// How much of `read` is known to hold no line break.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
    ended: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(input: R) -> Self {
        Self { input, read: BytesMut::new(), searched: 0, skipping: false, ended: false }
    }

    /// The next line; `None` at the end, or when nothing more can be read. What stands behind the
    /// last line break is a line too.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(at) = self.read[self.searched..].iter().position(|&b| b == b'\n') {
                let line = self.read.split_to(self.searched + at);
                self.read.advance(1);
                self.searched = 0;
                if std::mem::take(&mut self.skipping) || line.len() > LONGEST {
                    return Some(Line::TooLong);
                }
                return Some(text(line.strip_suffix(b"\r").unwrap_or(&line)));
            }
            self.searched = self.read.len();
            if self.searched > LONGEST {
                self.skipping = true;
            }
            if self.skipping {
                self.read.clear();
                self.searched = 0;
            }
            if self.ended {
                return self.rest();
            }
            let filled = self.read.len();
            self.read.resize(filled + CHUNK, 0);
            let read = self.input.read(&mut self.read[filled..]).unwrap_or(0);
            self.read.truncate(filled + read);
            self.ended = read == 0;
        }
    }

    fn rest(&mut self) -> Option<Line> {
        self.searched = 0;
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        let line = self.read.split();
        (!line.is_empty()).then(|| text(&line))
    }
}

/// What is not UTF-8 comes from a site that writes Latin-1, in which each byte is a character.
fn text(line: &[u8]) -> Line {
    match std::str::from_utf8(line) {
        Ok(text) => Line::Text { text: text.into(), repaired: false },
        Err(_) => Line::Text { text: line.iter().copied().map(char::from).collect(), repaired: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let mut lines = Lines::of(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next() {
            all.push(line);
        }
        all
    }

    fn plain(text: &str) -> Line {
        Line::Text { text: text.into(), repaired: false }
    }

    #[test]
    fn every_line_loses_its_end_and_nothing_else() {
        assert_eq!(lines(b"a\r\n\n b \nlast"), [plain("a"), plain(""), plain(" b "), plain("last")]);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [plain("")]);
    }

    #[test]
    fn what_is_not_utf8_is_read_as_latin_1_and_told() {
        assert_eq!(
            lines(b"caf\xe9\nok\n"),
            [Line::Text { text: "café".into(), repaired: true }, plain("ok")]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_not_held() {
        let mut input = vec![b'x'; 3 * LONGEST];
        input.extend(b"\nnext\n");

        assert_eq!(lines(&input), [Line::TooLong, plain("next")]);
        assert_eq!(lines(&vec![b'x'; LONGEST + 1]), [Line::TooLong]);
    }
}
