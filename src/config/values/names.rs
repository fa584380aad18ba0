//! Names, and patterns and templates of them.

use super::Written;
use crate::listen::unix;
use crate::route::{Auth, Origin, Pattern, Template};

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

impl Written for Origin {
    const EXPECTED: &'static str = "an origin such as \"https://app.example\"";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
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
pub(in crate::config) struct ChannelTemplate(pub(in crate::config) Template);

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

/// A pattern of channel names.
#[derive(Clone, Debug)]
pub(in crate::config) struct Names(pub(in crate::config) globset::GlobMatcher);

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

/// Who may use the admin listener for what changes things.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::config) struct Token(pub(in crate::config) String);

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
pub(in crate::config) struct Group(pub(in crate::config) String);

impl Written for Group {
    const EXPECTED: &'static str = "the name of a group such as \"www-data\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let plain =
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':');
        if !plain {
            return Err(format!("expected {}, not {text:?}", Self::EXPECTED));
        }
        // Looked up here too, so that `check` and a reload say what the next start would.
        unix::group_number(text).map_err(|error| error.to_string())?;
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_that_the_system_has() {
        assert!(Group::from_text("root").is_ok() && Group::from_text("4711").is_ok());
        for (text, told) in [
            ("", "expected the name"),
            ("no such", "expected the name"),
            ("nosuch", "there is no group `nosuch`"),
        ] {
            let error = Group::from_text(text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
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
