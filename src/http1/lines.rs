//! Header lines that are written.

use super::field::Field;
use super::head::Header;

/// Header lines as they go over the wire, each with its end.
#[derive(Clone, Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Lines that follow the first one of a message, which is written already.
    pub fn after(first: Vec<u8>) -> Self {
        Self(first)
    }

    /// Adds a line. Whatever would end it early, or could be taken for that, becomes a blank: a value
    /// of ours may hold what others said.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        let start = self.0.len() + name.len() + 2;
        self.put(name, value);
        for byte in &mut self.0[start..start + value.len()] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }

    /// Adds a line whose value cannot end it: it came in a line, or is of our own making.
    pub fn put(&mut self, name: &str, value: &[u8]) {
        self.copy(Header { field: Field::Other, name: name.as_bytes(), value });
    }

    /// Adds a line whose value is written by `write`, and cannot end it.
    pub fn put_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        write(&mut self.0);
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a line as it came.
    pub fn copy(&mut self, header: Header<'_>) {
        let Header { name, value, .. } = header;
        self.0.reserve(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds lines that are written already, each with its end.
    pub fn put_all(&mut self, lines: &str) {
        self.0.extend_from_slice(lines.as_bytes());
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The bytes with the empty line behind them.
    pub fn into_head(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A name as people know it, `content-type` as `Content-Type`: some old clients compare the case.
pub fn title_case(name: &str) -> String {
    let mut upper = true;
    let case = |c: char| {
        let cased = if upper { c.to_ascii_uppercase() } else { c };
        upper = c == '-';
        cased
    };
    name.chars().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_line() {
        let mut lines = Lines::default();

        lines.add("X-A", b"1\r\nX-B: 2\0\n");

        assert_eq!(lines.as_bytes(), b"X-A: 1  X-B: 2  \r\n");
    }

    #[test]
    fn names_are_written_as_people_know_them() {
        assert_eq!(title_case("x-accel-buffering"), "X-Accel-Buffering");
    }
}
