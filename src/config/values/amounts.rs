//! Numbers: how many, how large, how long, how often.

use std::time::Duration;

use super::Written;
use crate::broker;
use crate::replay::Replay;

/// Longer waits than this are mistakes, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A number of things, at least 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct Count(pub(in crate::config) usize);

impl Count {
    /// More of anything does not fit into a machine; semaphores and counters have to hold it.
    const MOST: usize = 1_000_000_000;
}

impl Written for Count {
    const EXPECTED: &'static str = "a whole number from 1 to 1000000000";

    fn from_text(text: &str) -> Result<Self, String> {
        Err(format!("expected {}, without quotes, not {text:?}", Self::EXPECTED))
    }

    fn from_number(number: i64) -> Option<Result<Self, String>> {
        let count = usize::try_from(number).ok().filter(|count| (1..=Self::MOST).contains(count));
        Some(count.map(Self).ok_or_else(|| format!("expected {}, not {number}", Self::EXPECTED)))
    }
}

/// A number of bytes, at least 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub(in crate::config) usize);

impl Size {
    /// So many bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text)
    }
}

impl Written for Size {
    const EXPECTED: &'static str = "a size such as \"4MiB\", \"256KiB\" or 65536";

    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {}, not {text:?}", Self::EXPECTED);
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor: usize = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        let size = number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
        size.filter(|&size| size > 0).map(Self).ok_or_else(wrong)
    }

    fn from_number(number: i64) -> Option<Result<Self, String>> {
        let size = usize::try_from(number).ok().filter(|&size| size > 0);
        Some(size.map(Self).ok_or_else(|| format!("expected {}, not {number}", Self::EXPECTED)))
    }
}

/// A length of time, longer than none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct Period(pub(in crate::config) Duration);

impl Written for Period {
    const EXPECTED: &'static str = "a duration such as \"30s\", \"500ms\" or \"1h\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(period) if period.is_zero() => Err(format!("a duration of {text:?} is none at all")),
            Ok(period) if period > LONGEST => Err(format!("{text:?} is longer than a hundred years")),
            Ok(period) => Ok(Self(period)),
            Err(_) => Err(format!("expected {}, not {text:?}", Self::EXPECTED)),
        }
    }
}

/// The permission bits of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct Mode(pub(in crate::config) u32);

impl Written for Mode {
    const EXPECTED: &'static str = "octal permissions in quotes such as \"0660\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| octal && mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("expected {}, not {text:?}", Self::EXPECTED))
    }
}

impl Written for broker::Rate {
    const EXPECTED: &'static str = "a rate such as \"5/s\", \"30/m\" or \"100/h\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {}, not {text:?}", Self::EXPECTED);
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let number: u32 = number.trim().parse().map_err(|_| wrong())?;
        let period = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        let interval = period.checked_div(number).filter(|interval| !interval.is_zero()).ok_or_else(wrong)?;
        Ok(Self { interval })
    }
}

impl Written for Replay {
    const EXPECTED: &'static str = "\"unseen\", \"live\", \"all\" or a number of events";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}, not {text:?}", Self::EXPECTED))
    }

    fn from_number(number: i64) -> Option<Result<Self, String>> {
        let newest = usize::try_from(number).map(Self::Newest);
        Some(newest.map_err(|_| format!("expected {}, not {number}", Self::EXPECTED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_their_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("100B", 100),
            ("4MiB", 4 << 20),
            ("256KiB", 256 << 10),
            ("1 GiB", 1 << 30),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(Size::from_text(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "0", "MiB", "-1", "1.5MiB", "4mib", "4 M", "99999999999GiB"] {
            assert!(Size::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_longer_than_none_and_shorter_than_a_century() {
        assert_eq!(Period::from_text("1h 30m"), Ok(Period(Duration::from_secs(5400))));
        for text in ["", "0s", "30", "soon", "200years", "-1s"] {
            assert!(Period::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(Mode::from_text("0660"), Ok(Mode(0o660)));
        assert_eq!(Mode::from_text("600"), Ok(Mode(0o600)));
        for text in ["", "0o660", "0680", "4755", "66", "+60"] {
            assert!(Mode::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_so_many_per_unit() {
        let every = |interval| Ok(broker::Rate { interval });

        assert_eq!(broker::Rate::from_text("5/s"), every(Duration::from_millis(200)));
        assert_eq!(broker::Rate::from_text("30/m"), every(Duration::from_secs(2)));
        for text in ["", "5", "0/s", "5/d", "-1/s", "x/s", "1.5/s"] {
            assert!(broker::Rate::from_text(text).is_err(), "{text}");
        }
    }
}
