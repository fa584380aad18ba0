//! Standard output and terminals.

use std::io::{self, IsTerminal, Write};

/// Nobody reads standard output any more: not a mistake of anybody's.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

/// Writes to standard output, at once.
pub(super) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        result => Ok(result?),
    }
}

/// Writes a line to standard error. That nobody reads it is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether standard output is for a person.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether what goes to standard error may have colours.
pub(super) fn paint_errors() -> bool {
    io::stderr().is_terminal() && wants_colour()
}

/// Whether what goes to standard output may have colours.
pub(super) fn paint() -> bool {
    is_terminal() && wants_colour()
}

/// See <https://no-color.org>.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `text` in less prominent letters.
pub(super) fn dim(text: &str) -> String {
    if paint() { format!("\x1b[2m{text}\x1b[0m") } else { text.into() }
}

/// Text of others, without what would make a terminal do things. Line breaks and tabs stay.
pub(super) fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}")
}

/// A number of bytes for people, in the units of the configuration.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = number;
    let mut rest = 0;
    let mut unit = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        rest = value % 1024;
        value /= 1024;
        unit += 1;
    }
    match rest * 10 / 1024 {
        0 => format!("{value} {}", UNITS[unit]),
        tenths => format!("{value}.{tenths} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_down_to_a_tenth() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(256 << 10), "256 KiB");
        assert_eq!(bytes((1 << 20) + (1 << 19)), "1.5 MiB");
        assert_eq!(bytes(5 << 40), "5120 GiB");
    }

    #[test]
    fn what_others_write_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\r\n\tc\u{9b}"), "a\u{fffd}[2Jb\u{fffd}\n\tc\u{fffd}");
    }
}
