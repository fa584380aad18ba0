//! The query of a request, each key of which must be known.

use super::problem::Problem;
use crate::event::frame::{Code, unknown_name};
use crate::http1::RequestHead;

/// The most an operator gets at once.
const MOST: usize = 1000;
/// What an operator gets who does not say.
const USUAL: usize = 100;

/// The keys and values behind `?`.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of `head`, in which only `known` keys may be.
    pub(super) fn of(head: &RequestHead, known: &[&str]) -> Result<Self, Problem> {
        let Some(query) = head.query().map(str::as_bytes) else { return Ok(Self(Vec::new())) };
        // What a URL has to escape here (WHATWG URL, query percent-encode set).
        if query.iter().any(|byte| matches!(byte, b'"' | b'<' | b'>')) {
            return Err(Problem::unescaped());
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query).into_owned().collect();
        match pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(Self(pairs)),
            Some((key, _)) => {
                Err(Problem::refused(Code::UnknownField, unknown_name("query parameter", key, known)))
            }
        }
    }

    /// The last value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// How many are asked for.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(limit) = self.get("limit") else { return Ok(USUAL) };
        let number = limit.parse().ok().filter(|number| (1..=MOST).contains(number));
        number.ok_or_else(|| Problem::bad_value("limit", format!("it is a number from 1 to {MOST}")))
    }

    /// The number of seconds under `key`.
    pub(super) fn seconds(&self, key: &str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { value.parse().ok() } else { None };
        number
            .map(Some)
            .ok_or_else(|| Problem::bad_value(key, format!("it is a number of seconds up to {}", u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The query of a request with this target, of which `a`, `limit` and `ttl` are known.
    fn query(target: &str) -> Result<Query, &'static str> {
        let head = RequestHead::parse(format!("GET {target} HTTP/1.1\r\n\r\n").into()).unwrap();
        Query::of(&head, &["a", "limit", "ttl"]).map_err(|problem| problem.code())
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        let query = query("/?a=1&a=%32+x").unwrap();

        assert_eq!((query.get("a"), query.get("ttl")), (Some("2 x"), None));
    }

    #[test]
    fn what_is_unknown_or_not_escaped_is_refused() {
        assert_eq!(query("/").unwrap().get("a"), None);
        assert_eq!(query("/?b=1").unwrap_err(), "unknown-field");
        for target in ["/?a=<", "/?a=>", "/?a=\""] {
            assert_eq!(query(target).unwrap_err(), "bad-value", "{target}");
        }
    }

    #[test]
    fn numbers_are_digits_within_bounds() {
        for (target, limit) in
            [("/", Some(100)), ("/?limit=1000", Some(1000)), ("/?limit=0", None), ("/?limit=1001", None)]
        {
            assert_eq!(query(target).unwrap().limit().ok(), limit, "{target}");
        }
        for (target, seconds) in [
            ("/", Some(None)),
            ("/?ttl=4294967295", Some(Some(u32::MAX))),
            ("/?ttl=4294967296", None),
            ("/?ttl=+1", None),
            ("/?ttl=%2B1", None),
            ("/?ttl=", None),
        ] {
            assert_eq!(query(target).unwrap().seconds("ttl").ok(), seconds, "{target}");
        }
    }
}
