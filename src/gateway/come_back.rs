//! Who is asked to come back when something fails that may be over soon, and when (PROTOCOL 6.9).
//!
//! An error status would end a browser's `EventSource` for good, so it is given a stream that ends at once.
//! Everybody else is told what has happened.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Response, header};

use super::{Asked, Gateway};
use crate::body::Body;
use crate::route::OnFailure;
use crate::subscribe::head;

/// The longest `Retry-After` that is heeded.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl Gateway {
    /// Whether this client is asked to come back when something fails.
    pub(super) fn comes_back(&self, asked: &Asked) -> bool {
        asked.is_event_source
            && self
                .routes
                .find(asked.path())
                .is_none_or(|found| found.route.on_failure == OnFailure::ComeBack)
    }

    /// The answer to a client whose request failed: the word to come back for an `EventSource`, or `otherwise`.
    pub(super) fn come_back_or(
        &self,
        asked: &Asked,
        otherwise: impl FnOnce() -> Response<Body>,
    ) -> Response<Body> {
        if self.comes_back(asked) { self.ask_to_come_back(asked, None) } else { otherwise() }
    }

    /// Asks a client to come back to a path that fails: later the longer it fails, and not before the backend
    /// wants it.
    pub(super) fn ask_to_come_back(&self, asked: &Asked, not_before: Option<Duration>) -> Response<Body> {
        head::come_back(self.hint(asked, not_before), origin(asked))
    }

    /// When a client shall come back to a path that has failed just now.
    pub(super) fn hint(&self, asked: &Asked, not_before: Option<Duration>) -> Duration {
        let hint = self.failing.fails(asked.path(), self.first_hint(asked), Instant::now());
        head::stretched(hint.max(not_before.unwrap_or_default()))
    }

    /// The answer to a client for whom there is no room just now: nothing has failed, so it need not wait.
    pub(super) fn come_back_soon_or(
        &self,
        asked: &Asked,
        otherwise: impl FnOnce() -> Response<Body>,
    ) -> Response<Body> {
        if !self.comes_back(asked) {
            return otherwise();
        }
        head::come_back(head::jittered(self.first_hint(asked)), origin(asked))
    }

    /// The hint of a client that nothing has happened to.
    pub(super) fn first_hint(&self, asked: &Asked) -> Duration {
        let found = self.routes.find(asked.path());
        found.and_then(|found| found.route.retry).unwrap_or_else(|| self.streams.retry())
    }
}

fn origin(asked: &Asked) -> Option<&[u8]> {
    asked.head.named("origin").next()
}

/// How long a failing backend wants to be left alone, if it says so (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()?,
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_an_hour_at_most() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        let in_two_minutes = SystemTime::now() + Duration::from_secs(120);

        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("7200"), Some(Duration::from_secs(3600)));
        let by_date = wait(&httpdate::fmt_http_date(in_two_minutes)).unwrap();
        assert!((110..=120).contains(&by_date.as_secs()), "{by_date:?}");
        for text in ["Thu, 01 Jan 1970 00:00:00 GMT", "soon", "-1", "", "99999999999999999999"] {
            assert_eq!(wait(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
