//! The path of an event route, and the names it captures.

/// Which paths a route answers: `/events`, `/events/{name}`, `/img-{n}.png` or `/files/{*rest}`.
///
/// It is compared with a request's path as it was sent, so percent-encoding counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    text: Box<str>,
    names: Vec<Box<str>>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPattern {
    /// It does not begin at the root.
    #[error("a path begins with `/`")]
    Relative,
    /// A character that no request's path has.
    #[error("{0:?} never stands in a request's path; write it percent-encoded, as browsers send it")]
    Character(char),
    /// A query was written into it.
    #[error("a path has no query; use {{query.NAME}} in `channels` to read parameters")]
    Query,
    /// A brace too many or too few, or nothing between two.
    #[error("a capture is `{{name}}` for one segment, or `{{*name}}` for the rest of the path")]
    Capture,
    /// More than one capture between two slashes.
    #[error("only one capture can stand between two slashes")]
    TwoInOneSegment,
    /// A rest that is not at the end.
    #[error("`{{*name}}` stands alone behind the last slash")]
    RestInside,
    /// The same name twice.
    #[error("the name {{{0}}} is captured twice")]
    Twice(Box<str>),
}

impl Pattern {
    /// Checks `text` and takes it over.
    ///
    /// # Errors
    /// When no request could ever match it, or when a capture is malformed.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if !text.starts_with('/') {
            return Err(InvalidPattern::Relative);
        }
        if text.contains('?') {
            return Err(InvalidPattern::Query);
        }
        if let Some(c) = text.chars().find(|&c| !c.is_ascii_graphic() || c == '#') {
            return Err(InvalidPattern::Character(c));
        }
        let names = captured_names(text)?;
        matchit::Router::new().insert(text, ()).map_err(|error| match error {
            matchit::InsertError::InvalidParamSegment => InvalidPattern::TwoInOneSegment,
            matchit::InsertError::InvalidCatchAll => InvalidPattern::RestInside,
            _ => InvalidPattern::Capture,
        })?;
        Ok(Self { text: text.into(), names })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it captures something under this name.
    pub fn captures(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }

    /// The names it captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }
}

fn captured_names(text: &str) -> Result<Vec<Box<str>>, InvalidPattern> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, behind) = after.split_once('}').ok_or(InvalidPattern::Capture)?;
        let name = inside.strip_prefix('*').unwrap_or(inside);
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || before.contains('}') {
            return Err(InvalidPattern::Capture);
        }
        if names.iter().any(|known| **known == *name) {
            return Err(InvalidPattern::Twice(name.into()));
        }
        names.push(name.into());
        rest = behind;
    }
    if rest.contains('}') { Err(InvalidPattern::Capture) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_knows_what_it_captures() {
        let pattern = Pattern::parse("/rooms/{room}/users/{user_id}").unwrap();

        assert_eq!(pattern.names().collect::<Vec<_>>(), ["room", "user_id"]);
        assert!(pattern.captures("room"));
        assert!(!pattern.captures("users"));
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for (text, error) in [
            ("", InvalidPattern::Relative),
            ("events", InvalidPattern::Relative),
            ("/a b", InvalidPattern::Character(' ')),
            ("/ä", InvalidPattern::Character('ä')),
            ("/a#b", InvalidPattern::Character('#')),
            ("/events?stream={x}", InvalidPattern::Query),
            ("/{", InvalidPattern::Capture),
            ("/{}", InvalidPattern::Capture),
            ("/{*}", InvalidPattern::Capture),
            ("/a}", InvalidPattern::Capture),
            ("/{a}}", InvalidPattern::Capture),
            ("/{{a}}", InvalidPattern::Capture),
            ("/{path.a}", InvalidPattern::Capture),
            ("/{a}-{b}", InvalidPattern::TwoInOneSegment),
            ("/{*a}/b", InvalidPattern::RestInside),
            ("/{a}/{a}", InvalidPattern::Twice("a".into())),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }
}
