//! Standard input, line by line, however it is cut.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, Stdin};

/// The longest line that is kept, in bytes; outboard takes less unless it is told otherwise.
pub(super) const LONGEST: usize = 16 << 20;

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// A line without its end, which is LF or CRLF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    Text {
        text: String,
        /// Whether something in it was not UTF-8 and had to be replaced.
        repaired: bool,
    },
    /// Longer than [`LONGEST`]: left out.
    TooLong,
}

/// The lines of standard input, or of something else that can be read.
pub(super) struct Lines<R = Stdin> {
    input: R,
    read: BytesMut,
    /// How much of `read` is known to hold no line break.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
    ended: bool,
}

impl Lines {
    pub(super) fn of_standard_input() -> Self {
        Self::of(tokio::io::stdin())
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(input: R) -> Self {
        Self { input, read: BytesMut::new(), searched: 0, skipping: false, ended: false }
    }

    /// The next line; `None` at the end, or when nothing more can be read. What stands behind the
    /// last line break is a line too. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Line> {
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
            self.read.reserve(CHUNK);
            match self.input.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(_) => {}
            }
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

fn text(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    Line::Text { repaired: matches!(text, std::borrow::Cow::Owned(_)), text: text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> Vec<Line> {
        let mut lines = Lines::of(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    fn plain(text: &str) -> Line {
        Line::Text { text: text.into(), repaired: false }
    }

    #[tokio::test]
    async fn every_line_loses_its_end_and_nothing_else() {
        assert_eq!(lines(b"a\r\n\n b \nlast").await, [plain("a"), plain(""), plain(" b "), plain("last")]);
        assert_eq!(lines(b"").await, []);
        assert_eq!(lines(b"\n").await, [plain("")]);
    }

    #[tokio::test]
    async fn what_is_not_utf8_is_replaced_and_told() {
        assert_eq!(
            lines(b"caf\xe9\nok\n").await,
            [Line::Text { text: "caf\u{fffd}".into(), repaired: true }, plain("ok")]
        );
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_left_out_and_not_held() {
        let mut input = vec![b'x'; 3 * LONGEST];
        input.extend(b"\nnext\n");

        assert_eq!(lines(&input).await, [Line::TooLong, plain("next")]);
        assert_eq!(lines(&vec![b'x'; LONGEST + 1]).await, [Line::TooLong]);
    }
}
