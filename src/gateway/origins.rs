//! Pages of other origins (PROTOCOL 7, `origins`): which of them may read a route's answers, and whose requests are
//! refused.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use super::{Asked, Handled, refuse};
use crate::body::Body;
use crate::http1::Field;
use crate::route::{Match, is_of_host};

/// What the answers of a route with `origins` say to a page.
pub(super) struct Reader {
    /// Where the page is from, if it may read them.
    origin: Option<HeaderValue>,
}

impl Reader {
    /// Who reads the answers of this route; `None` if it says nothing about that.
    pub(super) fn of(found: Option<&Match<'_>>, asked: &Asked) -> Option<Self> {
        let origins = &found?.route.origins;
        if origins.is_empty() {
            return None;
        }
        let said = asked.head.named("origin").next();
        let listed = said.filter(|said| origins.iter().any(|origin| origin.is(said)));
        Some(Self { origin: listed.and_then(|said| HeaderValue::from_bytes(said).ok()) })
    }

    /// Whether the page may read them.
    pub(super) fn is_listed(&self) -> bool {
        self.origin.is_some()
    }

    /// Writes it into an answer's headers, in place of what stands there.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to the question whether a page may send a GET of its own making (Fetch section 4.8), if it is one.
    pub(super) fn preflight(&self, asked: &Asked) -> Option<Response<Body>> {
        let method = asked.head.named("access-control-request-method").next();
        let is_preflight = *asked.method() == Method::OPTIONS && asked.head.named("origin").next().is_some();
        if !is_preflight || method != Some(b"GET") {
            return None;
        }
        let mut response = match self.is_listed() {
            true => Response::new(Body::empty()),
            false => return Some(self.told(refuse::cross_site(asked))),
        };
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
        headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        let wanted = asked.head.named("access-control-request-headers").next();
        if let Some(wanted) = wanted.and_then(|names| HeaderValue::from_bytes(names).ok()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
        Some(self.told(response))
    }

    fn told(&self, mut response: Response<Body>) -> Response<Body> {
        self.tell(response.headers_mut());
        response
    }
}

/// Writes into an answer who may read it.
pub(super) fn told(reader: Option<&Reader>, handled: Handled) -> Handled {
    match (reader, handled) {
        (Some(reader), Handled::Response(response)) => Handled::Response(reader.told(response)),
        // What takes the client over says so itself.
        (_, handled) => handled,
    }
}

/// Whether it is a request that a page of another site made with its visitor's cookies, and that the route does not let
/// read.
pub(super) fn is_refused(reader: Option<&Reader>, asked: &Asked) -> bool {
    let has_cookies = asked.head.named("cookie").next().is_some();
    has_cookies && !reader.is_some_and(Reader::is_listed) && is_cross_site(asked)
}

/// Whether a page of another site asks (Fetch Metadata section 2.3; where that is not sent, by its `Origin`).
fn is_cross_site(asked: &Asked) -> bool {
    match asked.head.named("sec-fetch-site").next() {
        Some(site) => site == b"cross-site",
        None => is_by_another_host(asked),
    }
}

/// Whether a page of another origin asks, be it of the same site.
pub(super) fn is_cross_origin(asked: &Asked) -> bool {
    match asked.head.named("sec-fetch-site").next() {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => is_by_another_host(asked),
    }
}

fn is_by_another_host(asked: &Asked) -> bool {
    let Some(said) = asked.head.named("origin").next() else { return false };
    let own = asked.head.authority().or_else(|| asked.head.values(Field::Host).next());
    !own.is_some_and(|own| is_of_host(said, own))
}
