//! The query of a request, each key of which must be known.

use super::problem::Problem;
use super::unescaped;
use crate::event::frame::Code;
use crate::event::frame::unknown_name;
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
            return Err(unescaped());
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
