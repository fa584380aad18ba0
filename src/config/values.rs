//! The values of the configuration that are more than a text or a number, parsed as they are read.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::broker;
use crate::proxy::Address;
use crate::replay::Replay;
use crate::route::{Auth, Pattern, Template};

/// Longer waits than this are mistakes, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A value that is written as text, or as a whole number where that makes sense too.
pub(super) trait Written: Sized {
    /// What belongs here, with an example, as in "expected …".
    const EXPECTED: &'static str;

    /// # Errors
    /// What is wrong with the text.
    fn from_text(text: &str) -> Result<Self, String>;

    /// `None` if a number is none of the ways to write it.
    fn from_number(_number: i64) -> Option<Result<Self, String>> {
        None
    }
}

/// Reads a [`Written`] value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct As<T>(pub(super) T);

impl<'de, T: Written> Deserialize<'de> for As<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData)).map(As)
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match T::from_number(number) {
            Some(result) => result.map_err(E::custom),
            None => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
        }
    }
}

/// One value or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Written> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lister<T>(PhantomData<T>);

        impl<'de, T: Written> Visitor<'de> for Lister<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list, each {}", T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List<T>, E> {
                T::from_text(text).map(|one| List(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(As(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }

        deserializer.deserialize_any(Lister(PhantomData))
    }
}

/// What stands where [`Tables`] are expected.
pub(super) const TABLES: &str = "a list of tables";

/// Tables under one name, written `[[name]]`.
#[derive(Clone, Debug)]
pub(super) struct Tables<T>(pub(super) Vec<T>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Rows<T> {
            type Value = Tables<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(TABLES)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tables<T>, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = items.next_element()? {
                    rows.push(row);
                }
                Ok(Tables(rows))
            }
        }

        deserializer.deserialize_seq(Rows(PhantomData))
    }
}

/// A number of things, at least 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Count(pub(super) usize);

impl Written for Count {
    const EXPECTED: &'static str = "a whole number, at least 1";

    fn from_text(text: &str) -> Result<Self, String> {
        Err(format!("expected {}, without quotes, not {text:?}", Self::EXPECTED))
    }

    fn from_number(number: i64) -> Option<Result<Self, String>> {
        let count = usize::try_from(number).ok().filter(|&count| count > 0);
        Some(count.map(Self).ok_or_else(|| format!("expected {}, not {number}", Self::EXPECTED)))
    }
}

/// A number of bytes, at least 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size(pub(super) usize);

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
pub(super) struct Period(pub(super) Duration);

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
pub(super) struct Mode(pub(super) u32);

impl Written for Mode {
    const EXPECTED: &'static str = "octal permissions in quotes such as \"0660\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| octal && mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("expected {}, not {text:?}", Self::EXPECTED))
    }
}

impl Written for SocketAddr {
    const EXPECTED: &'static str = "an address and a port such as \"0.0.0.0:8000\" or \"[::]:8000\"";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}, not {text:?}", Self::EXPECTED))
    }
}

impl Written for PathBuf {
    const EXPECTED: &'static str = "a path such as \"/run/outboard/publish.sock\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("expected {}, not {text:?}", Self::EXPECTED));
        }
        Ok(Self::from(text))
    }
}

impl Written for Address {
    const EXPECTED: &'static str = "an address such as \"http://127.0.0.1:8080\" or \"unix:/run/app.sock\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') && !path.starts_with("//") && !path.contains('\0') {
                true => Ok(Self::Unix(path.into())),
                false => Err(format!(
                    "after `unix:` comes the socket's whole path, as in \"unix:/run/app.sock\", not {text:?}"
                )),
            };
        }
        if text.starts_with("https:") {
            return Err("https backends are not in this version; use http:// or unix:".into());
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(format!("expected {}, not {text:?}", Self::EXPECTED));
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(format!(
                "{text:?} has a path; requests go to the backend under the path they came with, so write only host and port"
            ));
        }
        let wrong = || format!("expected {}, not {text:?}", Self::EXPECTED);
        let address: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let host = address.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.strip_prefix(address.host()).ok_or_else(wrong)? {
            "" => 80,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.into(), port })
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

impl Written for Auth {
    const EXPECTED: &'static str = "a path of the backend such as \"/may-listen.cgi\", or \"none\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "grant" | "jwt" => Err(format!(
                "auth = \"{text}\" is not in this version; use a path of the backend such as \"/may-listen.cgi\", or \"none\""
            )),
            path if path.starts_with('/') => {
                Template::parse_path(path).map(Self::Backend).map_err(|error| error.to_string())
            }
            _ => Err(format!("expected {}, not {text:?}", Self::EXPECTED)),
        }
    }
}

impl Written for Pattern {
    const EXPECTED: &'static str = "a path such as \"/events\" or \"/events/{name}\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }
}

/// A template that gives channel names.
#[derive(Clone, Debug)]
pub(super) struct ChannelTemplate(pub(super) Template);

impl Written for ChannelTemplate {
    const EXPECTED: &'static str = "a channel name such as \"news\" or \"job-{query.id}\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Template::parse_channel(text).map(Self).map_err(|error| error.to_string())
    }
}

impl Written for Template {
    const EXPECTED: &'static str = "a name such as \"{cookie.session}\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("expected {}, not an empty text", Self::EXPECTED));
        }
        Self::parse(text).map_err(|error| error.to_string())
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

/// A pattern of channel names.
#[derive(Clone, Debug)]
pub(super) struct Names(pub(super) globset::GlobMatcher);

impl Written for Names {
    const EXPECTED: &'static str = "a pattern of channel names such as \"ticker.*\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("expected {}, not an empty text", Self::EXPECTED));
        }
        channel_glob(text).map(Self).map_err(|error| format!("{text:?} is no pattern: {}", error.kind()))
    }
}

/// The pattern language for channel names: `*` stops at a slash, `**` does not.
///
/// # Errors
/// When `text` is no glob.
pub fn channel_glob(text: &str) -> Result<globset::GlobMatcher, globset::Error> {
    Ok(globset::GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher())
}

/// Makes a [`Written`] value of a choice between a few words.
macro_rules! words {
    ($type:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Written for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("expected {}, not {text:?}", Self::EXPECTED)),
                }
            }
        }
    };
}

words!(broker::Keep, "\"all\" or \"latest\"", {
    "all" => broker::Keep::All,
    "latest" => broker::Keep::Latest,
});

words!(crate::subscribe::Slow, "\"disconnect\" or \"skip\"", {
    "disconnect" => crate::subscribe::Slow::Disconnect,
    "skip" => crate::subscribe::Slow::Skip,
});

words!(super::Format, "\"text\" or \"json\"", {
    "text" => super::Format::Text,
    "json" => super::Format::Json,
});

words!(super::Level, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", {
    "error" => super::Level::Error,
    "warn" => super::Level::Warn,
    "info" => super::Level::Info,
    "debug" => super::Level::Debug,
    "trace" => super::Level::Trace,
});

/// Where the log lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StoreKind {
    Memory,
}

impl Written for StoreKind {
    const EXPECTED: &'static str = "\"memory\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "disk" => Err("store = \"disk\" is not in this version; use \"memory\"".into()),
            _ => Err(format!("expected {}, not {text:?}", Self::EXPECTED)),
        }
    }
}

/// Who may use the admin listener for what changes things.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Token(pub(super) String);

impl Written for Token {
    const EXPECTED: &'static str = "a secret of at least 8 visible ASCII characters";

    fn from_text(text: &str) -> Result<Self, String> {
        // The value itself stays out of the message: it may be in a log soon.
        if text.len() < 8 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("expected {}", Self::EXPECTED));
        }
        Ok(Self(text.into()))
    }
}

/// The name of a group of the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Group(pub(super) String);

impl Written for Group {
    const EXPECTED: &'static str = "the name of a group such as \"www-data\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let plain =
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':');
        if plain { Ok(Self(text.into())) } else { Err(format!("expected {}, not {text:?}", Self::EXPECTED)) }
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
    fn a_backend_is_a_host_or_a_socket() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.into(), port });

        assert_eq!(Address::from_text("http://127.0.0.1:8080"), tcp("127.0.0.1", 8080));
        assert_eq!(Address::from_text("http://app.local/"), tcp("app.local", 80));
        assert_eq!(Address::from_text("http://[::1]:8080"), tcp("::1", 8080));
        assert_eq!(Address::from_text("unix:/run/app.sock"), Ok(Address::Unix("/run/app.sock".into())));
        for text in [
            "",
            "127.0.0.1:8080",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://a/b",
            "http://a?b",
            "http://user@a",
            "http://a b",
            "https://a",
            "ftp://a",
            "unix:app.sock",
            "unix://run/app.sock",
        ] {
            assert!(Address::from_text(text).is_err(), "{text}");
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

    #[test]
    fn auth_is_a_path_or_written_out_as_none() {
        assert_eq!(Auth::from_text("none"), Ok(Auth::None));
        assert!(matches!(Auth::from_text("/may-listen.cgi?c={query.c}"), Ok(Auth::Backend(_))));
        for text in ["", "None", "may-listen.cgi", "grant", "jwt", "/a/../b"] {
            assert!(Auth::from_text(text).is_err(), "{text}");
        }
    }
}
