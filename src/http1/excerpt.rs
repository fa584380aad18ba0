//! What somebody sent, as a log can show it.

use std::fmt;

/// The most bytes that are shown.
const MOST: usize = 80;

/// The beginning of what somebody sent: in quotes, escaped, and cut. It cannot end a line of a log, nor fill one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excerpt(String);

impl Excerpt {
    /// Of `bytes`, without the end of a line at their end.
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let shown = &bytes[..bytes.len().min(MOST)];
        let cut = if shown.len() < bytes.len() { "\u{2026}" } else { "" };
        Self(format!("\"{}{cut}\"", shown.escape_ascii()))
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_shown_in_one_short_line() {
        assert_eq!(Excerpt::of(b"X-\xe9: \"a\"\x01\r\n").to_string(), r#""X-\xe9: \"a\"\x01""#);
        assert_eq!(Excerpt::of(b"a\nb").to_string(), r#""a\nb""#);
        assert_eq!(Excerpt::of(&[b'x'; 81]).to_string(), format!("\"{}\u{2026}\"", "x".repeat(80)));
    }
}
