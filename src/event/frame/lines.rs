//! Bytes into lines (WHATWG HTML 9.2.5: LF, CRLF or CR; one BOM before the first).
//!
//! A line that lies whole in one read is borrowed from it. Of one that does not, as much is kept as
//! its frame has room for; of a longer one only the beginning, which is enough to see a channel's
//! name in it. Comments are dropped as they come and never seen outside.

const BOM: &[u8; 3] = b"\xef\xbb\xbf";

/// How much is kept of a line that is too long: more than the longest valid `channel` line.
const BEGINNING: usize = 512;

/// Above this, the buffer of a long line is given back once the line is done.
const SPARE: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Lines {
    bom: Bom,
    /// A CR ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    partial: Partial,
    /// Holds the line that `next` lends out.
    whole: Vec<u8>,
}

/// What is known of the connection's first bytes.
#[derive(Debug)]
enum Bom {
    /// So many bytes of a BOM, and nothing else.
    Seen(usize),
    /// It was there or it was not.
    Decided,
}

impl Default for Bom {
    fn default() -> Self {
        Self::Seen(0)
    }
}

/// A line whose end has not been read yet.
#[derive(Debug, Default)]
struct Partial {
    beginning: Vec<u8>,
    length: usize,
    is_comment: bool,
}

/// A line without its end.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The line, or at least its first [`BEGINNING`] bytes if it is longer than there was room for.
    pub(super) bytes: &'a [u8],
    /// The length of all of it.
    pub(super) length: usize,
}

impl Line<'_> {
    pub(super) fn is_blank(&self) -> bool {
        self.length == 0
    }

    /// Whether it is a comment; those without indentation are dropped before.
    pub(super) fn is_comment(&self) -> bool {
        self.bytes.first() == Some(&b':')
    }

    /// The same line without the blanks and tabs that it begins with.
    pub(super) fn without_indentation(self) -> Self {
        let indented = self.bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        Self { bytes: &self.bytes[indented..], length: self.length - indented }
    }
}

impl Lines {
    /// Takes the next line that is not a comment off `input`; `None` when no line ends in it.
    /// `room` is the length of the longest line that is wanted whole.
    pub(super) fn next<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8], room: usize) -> Option<Line<'l>> {
        if self.whole.capacity() > SPARE {
            self.whole = Vec::new();
        }
        self.pass_bom(input);
        loop {
            self.pass_lf_of_crlf(input);
            let Some(end) = memchr::memchr2(b'\r', b'\n', input) else {
                self.partial.extend(input, room);
                *input = &[];
                return None;
            };
            let bytes: &'i [u8] = &input[..end];
            self.after_cr = input[end] == b'\r';
            *input = &input[end + 1..];

            if !self.partial.is_begun() {
                if bytes.first() == Some(&b':') {
                    continue;
                }
                return Some(Line { bytes, length: bytes.len() });
            }
            self.partial.extend(bytes, room);
            let (is_comment, length) = (self.partial.is_comment, self.partial.length);
            self.partial.take(&mut self.whole);
            if !is_comment {
                return Some(Line { bytes: &self.whole, length });
            }
        }
    }

    /// Whether a line has begun that is not a comment.
    pub(super) fn is_within_field(&self) -> bool {
        let cut_bom = matches!(self.bom, Bom::Seen(seen) if seen > 0);
        cut_bom || (self.partial.is_begun() && !self.partial.is_comment)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.beginning.capacity() + self.whole.capacity()
    }

    fn pass_bom(&mut self, input: &mut &[u8]) {
        while let Bom::Seen(seen) = self.bom {
            let Some(&first) = input.first() else { return };
            if first == BOM[seen] {
                *input = &input[1..];
                self.bom = if seen + 1 == BOM.len() { Bom::Decided } else { Bom::Seen(seen + 1) };
            } else {
                // Not a BOM after all: what looked like its beginning begins the first line.
                self.partial.extend(&BOM[..seen], BOM.len());
                self.bom = Bom::Decided;
            }
        }
    }

    fn pass_lf_of_crlf(&mut self, input: &mut &[u8]) {
        if self.after_cr && !input.is_empty() {
            self.after_cr = false;
            if input[0] == b'\n' {
                *input = &input[1..];
            }
        }
    }
}

impl Partial {
    fn is_begun(&self) -> bool {
        self.length > 0
    }

    fn extend(&mut self, bytes: &[u8], room: usize) {
        if self.length == 0 {
            self.is_comment = bytes.first() == Some(&b':');
        }
        self.length = self.length.saturating_add(bytes.len());
        if self.is_comment {
            return;
        }
        let wanted = if self.length > room { BEGINNING } else { self.length };
        if wanted < self.beginning.len() {
            self.beginning.truncate(wanted);
            self.beginning.shrink_to(wanted);
        }
        let missing = (wanted - self.beginning.len()).min(bytes.len());
        self.beginning.extend_from_slice(&bytes[..missing]);
    }

    /// Moves what is kept into `line`, and makes ready for the next one.
    fn take(&mut self, line: &mut Vec<u8>) {
        line.clear();
        std::mem::swap(&mut self.beginning, line);
        self.length = 0;
    }
}
